"""Propose: windows of all images that may show the evidence, found before any training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data import Dataset, Splits
from foveal.data.labels import is_multilabel
from foveal.proposals import Proposals, Trunk, mine
from foveal.proposals.survey import Progress

Windows = tuple[Int[Tensor, "Q 4"], ...]


@dataclass(frozen=True)
class Proposed:
    """What the first phase found.

    Attributes:
        summary: in words, how far it can be trusted.
        trusted: whether exemplars prove themselves on images not used, and are about all labels
            but one.
        nothing: number of the class without evidence of its own, of which there is at most one.
        train: windows of each training image, those of most evidence first.
        validation: likewise.
    """

    summary: str
    trusted: bool
    nothing: int | None
    train: Windows
    validation: Windows

    def first(self, count: int) -> "Proposed":
        """The same with so many windows of an image, the first ones."""
        train, validation = (
            tuple(windows[:count] for windows in each) for each in (self.train, self.validation)
        )
        return replace(self, train=train, validation=validation)

    def state(self) -> dict[str, Any]:
        """The same as plain values and tensors."""
        return {
            "summary": self.summary,
            "trusted": self.trusted,
            "nothing": self.nothing,
            "train": list(self.train),
            "validation": list(self.validation),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Proposed":
        """What gave this state."""
        return cls(
            state["summary"],
            state["trusted"],
            state["nothing"],
            tuple(state["train"]),
            tuple(state["validation"]),
        )


def propose(
    splits: Splits,
    trunk: Trunk,
    *,
    patch: int,
    count: int,
    nothing: int | None,
    seed: int,
    megapixels: float,
    progress: Progress,
) -> tuple[Proposals, Proposed]:
    """Mine the training images, and propose windows in the validation images.

    Args:
        splits: labelled images; groups, where the data set has some, are not torn apart.
        trunk: frozen network.
        patch: side of the windows in pixels.
        count: windows per image.
        nothing: number of the class without evidence of its own, if it is known.
        seed: of samples and folds.
        megapixels: of an image on average that are searched, see `foveal.proposals.mine`.
        progress: called with the number of images done, and of all.
    """
    groups = getattr(splits.train, "groups", None)
    found = mine(
        splits.train,
        trunk=trunk,
        patch=patch,
        groups=groups,
        nothing=nothing,
        seed=seed,
        megapixels=megapixels,
        progress=progress,
    )
    images = [splits.validation[index].image for index in range(len(splits.validation))]
    few = min(count, *(math.prod(found.trunk.grid(image.size)) for image in images))
    validation = []
    for image in images:
        validation.append(found.windows(image, few).cpu())
        progress(len(validation), len(images))
    train = tuple(windows[:count] for windows in found.mined)
    return found, Proposed(
        str(found),
        found.trusted and found.complete,
        _nothing(found, splits.train) if nothing is None else nothing,
        train,
        tuple(validation),
    )


def _nothing(found: Proposals, images: Dataset) -> int | None:
    """The class of all images that no exemplar is about, if they are of one class."""
    if is_multilabel(images.labels) or not (found.trusted and found.rest):
        return None
    labels = torch.unique(images.labels[list(found.rest)]).tolist()
    return int(labels[0]) if len(labels) == 1 else None
