"""What a data set is: labelled images, some of them with boxes, in up to three splits."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Int
from torch import Tensor

from foveal.errors import UserError
from foveal.images import Image


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes:
        image: the pixels, in memory or on disk.
        label: class number, 0 <= label < number of classes; multi-label: whether the image has
            each class.
        file: name of the image.
        boxes: where the evidence is, top left bottom right in pixels, None if unknown. Never used
            in training, only to report how often a chosen window hits a box.
    """

    image: Image
    label: int | Bool[Tensor, " classes"]
    file: str
    boxes: Int[Tensor, "n 4"] | None = None


@runtime_checkable
class Dataset(Protocol):
    """A sequence of examples whose labels are known without reading an image.

    Attributes:
        classes: names of the classes.
        labels: class number of each image; multi-label: whether each image has each class.
    """

    classes: tuple[str, ...]

    @property
    def labels(self) -> Int[Tensor, " n"] | Bool[Tensor, "n classes"]:
        """Class number of each image, or the classes of each."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class Splits:
    """The splits of a data set: for training, for choosing the best weights, and for reporting."""

    train: Dataset
    validation: Dataset
    test: Dataset | None = None


def sizes(images: Dataset, most: int = 200) -> list[tuple[int, int]]:
    """Heights and widths of up to 200 images, of files from their headers."""
    count = min(len(images), most)
    return [images[i * len(images) // count].image.size for i in range(count)]


def no_images() -> Splits:
    """The splits of a run that was shared: its images stay with who trained it.

    Raises:
        UserError: always.
    """
    raise UserError(
        "the run was shared without its images: name others, as in foveal evaluate RUN --data PATH "
        "or foveal explain RUN IMAGES"
    )
