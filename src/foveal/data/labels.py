"""Labels: one class per image, or any set of classes per image (multi-label).

                   labels               probabilities      prediction           correct
    single class   Int (B,)             softmax            the most probable    the same class
    multi-label    Bool (B, classes)    sigmoid of each    all above one half   the same set

The type of the labels says which it is. The name of a set is the tuple of the names of its classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Label = int | Bool[Tensor, " classes"]
Labels = Int[Tensor, " B"] | Bool[Tensor, "B classes"]
LabelName = str | tuple[str, ...]


def is_multilabel(labels: Tensor) -> bool:
    """Whether labels are sets of classes, by their type."""
    return labels.dtype == torch.bool


def probabilities(
    logits: Float[Tensor, "B classes"], *, multilabel: bool
) -> Float[Tensor, "B classes"]:
    """Probability of every class, in [0, 1]; they sum to one unless the labels are multi-label."""
    return logits.sigmoid() if multilabel else logits.softmax(dim=1)


def predicted(logits: Float[Tensor, "B classes"], *, multilabel: bool) -> Labels:
    """The predicted labels."""
    return logits > 0 if multilabel else logits.argmax(dim=1)


def is_correct(logits: Float[Tensor, "B classes"], labels: Labels) -> Bool[Tensor, " B"]:
    """Whether the predicted class, or the whole predicted set, equals the label."""
    same = predicted(logits, multilabel=is_multilabel(labels)) == labels
    return same.all(dim=1) if is_multilabel(labels) else same


def decode(
    shares: Mapping[str, float],
    *,
    multilabel: bool,
    thresholds: Mapping[str, float] | None = None,
) -> LabelName:
    """The name of the predicted label, from the probabilities of the classes.

    Args:
        shares: class -> probability.
        multilabel: whether a label is a set of classes.
        thresholds: class -> probability above which it is predicted; of two classes, they sum to
            one. None: all the same, one half for sets.

    >>> decode({"cat": 0.7, "dog": 0.2, "owl": 0.6}, multilabel=True)
    ('cat', 'owl')
    >>> decode({"cat": 0.7, "dog": 0.3}, multilabel=False, thresholds={"cat": 0.8, "dog": 0.2})
    'dog'
    """
    if multilabel:
        least = thresholds or dict.fromkeys(shares, 0.5)
        return tuple(name for name, share in shares.items() if share > least[name])
    if thresholds is None:
        return max(shares, key=shares.__getitem__)
    return max(shares, key=lambda name: shares[name] - thresholds[name])


def joint_probability(label: LabelName, shares: Mapping[str, float]) -> float:
    """The probability of a class, or of exactly this set of classes if they are independent.

    >>> round(joint_probability(("cat", "owl"), {"cat": 0.7, "dog": 0.2, "owl": 0.6}), 3)
    0.336
    """
    if isinstance(label, str):
        return shares[label]
    return math.prod(share if each in label else 1 - share for each, share in shares.items())


def label_name(label: Label, classes: Sequence[str]) -> LabelName:
    """The name of a label; for a set, the names in the order of the classes."""
    if isinstance(label, int):
        return classes[label]
    return tuple(name for name, present in zip(classes, label.tolist(), strict=True) if present)


def in_order(label: LabelName, classes: Iterable[str]) -> LabelName:
    """The name of a label with the classes of a set in the given order.

    >>> in_order(("owl", "cat"), ["cat", "dog", "owl"])
    ('cat', 'owl')
    """
    return label if isinstance(label, str) else tuple(each for each in classes if each in label)


def text(label: LabelName) -> str:
    """The name of a label as one string; the empty set is "(none)".

    >>> text(("cat", "owl"))
    'cat + owl'
    """
    return label if isinstance(label, str) else " + ".join(label) or "(none)"


def bearing(labels: Labels, classes: int) -> Bool[Tensor, "B classes"]:
    """Whether each image has each class.

    >>> bearing(torch.tensor([1, 0]), 2).tolist()
    [[False, True], [True, False]]
    """
    if is_multilabel(labels):
        return labels
    return labels[:, None] == torch.arange(classes, device=labels.device)


def class_counts(labels: Labels, classes: int) -> list[int]:
    """How many images have each class.

    >>> class_counts(torch.tensor([1, 0, 1]), 3)
    [1, 2, 0]
    """
    return [int(count) for count in bearing(labels, classes).sum(dim=0)]
