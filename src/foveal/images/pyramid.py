"""What every reader of a large file gives: one picture in several sizes, each in pieces.

A piece is a tile, a group of strips or a chunk: the least that is read at once. `open_pyramid` in
`opening.py` chooses the reader; `file_sources.py` puts views and crops together from pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from foveal.images.nodata import Colour
from foveal.images.resolution import Resolution

Place = tuple[int, int]
"""Row and column of a piece."""


@runtime_checkable
class Level(Protocol):
    """The picture in one size."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""

    @property
    def piece(self) -> tuple[int, int]:
        """Height and width of a piece; those at the lower and right edge are cut off there."""

    def pieces(self, places: Sequence[Place]) -> Iterator[UInt8[Tensor, "3 _h _w"]]:
        """Read and decode the pieces at places, in this order.

        Raises:
            OSError, ImageError: they are damaged, or the file has changed.
        """


@dataclass(frozen=True)
class Pyramid:
    """A picture that is read in pieces.

    Attributes:
        levels: from the full size to smaller copies; none: the file must be decoded whole.
        orientation: EXIF orientation, 1 to 8.
        nodata: the colour of pixels without data.
        format: name of the format, for people.
        bits: per sample, as stored.
        colours: gray or RGB, as stored.
        resolution: what a pixel shows, if the file says so.
    """

    levels: Sequence[Level]
    orientation: int = 1
    nodata: Colour | None = None
    format: str = "TIFF"
    bits: int = 8
    colours: str = "RGB"
    resolution: Resolution | None = None
