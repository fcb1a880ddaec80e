"""What logits say of an image, and what counts as right: one class, or a set of classes.

    one class   probabilities: softmax            said: the most probable     right: the same class
    a set       probabilities: a sigmoid each     said: all above one half    right: the same set

The second is known as multi-label classification. Labels tell which it is by their type: class
numbers, or a row of booleans an image. The name of a set is the tuple of the names of its classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Label = int | Bool[Tensor, "classes"]
Labels = Int[Tensor, "B"] | Bool[Tensor, "B classes"]
LabelName = str | tuple[str, ...]


def is_multilabel(labels: Tensor) -> bool:
    """Whether labels are sets of classes."""
    return labels.dtype == torch.bool


def probabilities(
    logits: Float[Tensor, "B classes"], *, multilabel: bool
) -> Float[Tensor, "B classes"]:
    """Of every class, in [0, 1]; where an image has one class, they sum to one."""
    return logits.sigmoid() if multilabel else logits.softmax(dim=1)


def predicted(logits: Float[Tensor, "B classes"], *, multilabel: bool) -> Labels:
    """What is said of every image, as labels."""
    return logits > 0 if multilabel else logits.argmax(dim=1)


def is_correct(logits: Float[Tensor, "B classes"], labels: Labels) -> Bool[Tensor, "B"]:
    """Whether the class, or every class of the set and no other, is said."""
    same = predicted(logits, multilabel=is_multilabel(labels)) == labels
    return same.all(dim=1) if is_multilabel(labels) else same


def decode(shares: Mapping[str, float], *, multilabel: bool) -> LabelName:
    """What is said of an image, from the probabilities of the classes.

    >>> decode({"cat": 0.7, "dog": 0.2, "owl": 0.6}, multilabel=True)
    ('cat', 'owl')
    """
    if multilabel:
        return tuple(name for name, share in shares.items() if share > 0.5)
    return max(shares, key=shares.__getitem__)


def joint_probability(label: LabelName, shares: Mapping[str, float]) -> float:
    """The probability of a class, or of exactly that set: of a yes or a no from every class.

    >>> round(joint_probability(("cat", "owl"), {"cat": 0.7, "dog": 0.2, "owl": 0.6}), 3)
    0.336
    """
    if isinstance(label, str):
        return shares[label]
    return math.prod(share if each in label else 1 - share for each, share in shares.items())


def label_name(label: Label, classes: Sequence[str]) -> LabelName:
    """The name of a label, that of a set in the order of the classes."""
    if isinstance(label, int):
        return classes[label]
    return tuple(name for name, borne in zip(classes, label.tolist(), strict=True) if borne)


def in_order(label: LabelName, classes: Iterable[str]) -> LabelName:
    """A name as `label_name` would give it, whatever the order of a set's classes.

    >>> in_order(("owl", "cat"), ["cat", "dog", "owl"])
    ('cat', 'owl')
    """
    return label if isinstance(label, str) else tuple(each for each in classes if each in label)


def text(label: LabelName) -> str:
    """A name in one string; the empty set is "(none)".

    >>> text(("cat", "owl"))
    'cat + owl'
    """
    return label if isinstance(label, str) else " + ".join(label) or "(none)"
