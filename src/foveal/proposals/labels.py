"""Labels of any form as booleans (n, classes), and the questions they raise."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from foveal.proposals.exemplars import Question

_FEWEST = 5  # images on either side of a question


def read_labels(
    images: Any, labels: Any, classes: Sequence[str] | None, *, count: int
) -> tuple[Bool[Tensor, "n classes"], tuple[str, ...]]:
    """Which classes each image bears, and the classes' names.

    Args:
        images: a data set that knows its labels and classes, where `labels` is None.
        labels: class numbers, class names, or booleans (n, classes).
        classes: names of the classes.
        count: number of images.

    Raises:
        ValueError: there are no labels, not one per image, or too few names of classes.
    """
    if labels is None:
        labels = getattr(images, "labels", None)
        classes = classes or getattr(images, "classes", None)
    if labels is None:
        raise ValueError("give labels, or a data set that has them")
    if len(labels) != count:
        raise ValueError(f"there must be a label per image: got {len(labels)} for {count} images")
    names = tuple(classes or ())
    if not isinstance(labels, Tensor) and all(isinstance(label, str) for label in labels):
        names = names or tuple(sorted(set(labels)))
        unknown = [label for label in labels if label not in names]
        if unknown:
            raise ValueError(f"label {unknown[0]!r} is not in classes={names}")
        labels = torch.tensor([names.index(label) for label in labels])
    labels = torch.as_tensor(labels).cpu()
    if labels.ndim == 2:
        bearing = labels.bool()
    else:
        numbers = torch.arange(max(int(labels.max()) + 1, len(names)))
        bearing = labels.long()[:, None] == numbers
    names = names or tuple(map(str, range(bearing.shape[1])))
    if len(names) != bearing.shape[1]:
        raise ValueError(f"there are {bearing.shape[1]} classes: got {len(names)} names")
    return bearing, names


def read_groups(groups: Any, *, count: int) -> Int[Tensor, " n"]:
    """Group numbers 0, 1, ..; without groups each image is its own.

    Raises:
        ValueError: not one group per image.
    """
    if groups is None:
        return torch.arange(count)
    if len(groups) != count:
        raise ValueError(f"there must be a group per image: got {len(groups)} for {count} images")
    names = groups.tolist() if isinstance(groups, Tensor) else list(groups)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def questions_of(
    bearing: Bool[Tensor, "n classes"], names: Sequence[str], nothing: int | None = None
) -> list[Question]:
    """Every class against the rest and the rest against every class, none of them twice.

    Questions with fewer than 5 images on one side are left out.

    Args:
        bearing: which images bear which class.
        names: of the classes.
        nothing: number of the class without evidence; what its images alone show is not asked for.
    """
    asked = [Question(name, bearing[:, i]) for i, name in enumerate(names)]
    asked += [Question(f"not {name}", ~bearing[:, i]) for i, name in enumerate(names)]
    silent = None if nothing is None else bearing[:, nothing]
    found: list[Question] = []
    for question in asked:
        if silent is not None and torch.equal(question.positive, silent):
            continue
        sides = int(question.positive.sum()), int((~question.positive).sum())
        known = any(torch.equal(question.positive, each.positive) for each in found)
        if min(sides) >= _FEWEST and not known:
            found.append(question)
    return found
