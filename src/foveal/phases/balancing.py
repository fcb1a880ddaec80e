"""Rare classes after proposals: their images come more often, and weigh more."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data import Dataset, Example, Splits
from foveal.data.labels import is_multilabel
from foveal.settings import Training

_LARGEST_WEIGHT = 3.0  # of a class


def balanced(
    images: Dataset, weights: tuple[float, ...] | None
) -> tuple[Dataset, tuple[float, ...] | None]:
    """Half of the balance that class weights ask for by repeating images, the rest by weights.

    Args:
        images: of single classes; otherwise they stay as they are.
        weights: one per class; None: no balance is asked for.

    Returns:
        The images, rare ones several times, and the weights that are left, at most 3.
    """
    if weights is None or is_multilabel(images.labels):
        return images, weights
    times = repetitions(images.labels, len(images.classes))
    each = times[images.labels]
    rest = torch.tensor(weights) / times
    rest = (rest * (each.sum() / (rest[images.labels] * each).sum())).clamp(max=_LARGEST_WEIGHT)
    indices = torch.arange(len(images)).repeat_interleave(each)
    return Repeated(images, indices.tolist()), tuple(rest.tolist())


def evened(splits: Splits, training: Training) -> tuple[Splits, Training]:
    """Splits whose training images are `balanced`, and a training with the weights left."""
    images, weights = balanced(splits.train, training.optimisation.class_weights)
    settings = replace(training.optimisation, class_weights=weights)
    return replace(splits, train=images), replace(training, optimisation=settings)


class Repeated:
    """A data set in which images of rare classes occur several times.

    Args:
        images: the data set.
        indices: of its images, in the order of this data set.
    """

    def __init__(self, images: Dataset, indices: Sequence[int]) -> None:
        self.images, self.indices = images, tuple(indices)
        self.classes, self.labels = images.classes, images.labels[list(indices)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.images[self.indices[index]]


def repetitions(labels: Int[Tensor, " n"], classes: int) -> Int[Tensor, " classes"]:
    """How often each image of a class occurs, so that classes differ by the root of their ratio.

    >>> repetitions(torch.tensor([0] * 16 + [1]), 2).tolist()
    [1, 4]
    """
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return (counts.max() / counts).sqrt().round().long()
