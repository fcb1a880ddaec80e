"""Labelled images: what a data set is, and the data sets foveal can read or make."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Int
from torch import Tensor

from foveal.images import Image


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes:
        image: the pixels, in memory or on disk.
        label: class number, 0 <= label < number of classes; or, where images bear sets of classes,
            whether it bears each of them.
        file: the name people know the image by.
        boxes: evidence, top left bottom right in pixels, or None where nobody drew any. Never used
        in
            training: only to report how often a chosen window hits a box.
    """

    image: Image
    label: int | Bool[Tensor, "classes"]
    file: str
    boxes: Int[Tensor, "n 4"] | None = None


@runtime_checkable
class Dataset(Protocol):
    """A sequence of examples with known labels.

    Attributes:
        classes: names of the classes.
        labels: class number of each image; or, where images bear sets of classes (multi-label),
            which classes each bears.
    """

    classes: tuple[str, ...]
    labels: Int[Tensor, "n"] | Bool[Tensor, "n classes"]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class Splits:
    """The parts of a data set: to learn from, to choose the best model by, and to report on."""

    train: Dataset
    validation: Dataset
    test: Dataset | None = None
