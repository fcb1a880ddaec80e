"""The levels of a pyramid in a TIFF: the first page, and those that are smaller copies of it.

Levels are further pages (libvips, GDAL, Aperio) or directories below the first page (OME-TIFF).
"""

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from jaxtyping import UInt8
from torch import Tensor

from foveal.images import tiff
from foveal.images.byte_ranges import ByteRanges
from foveal.images.decoding import checked_pages
from foveal.images.limits import check_area
from foveal.images.nodata import stated_nodata
from foveal.images.pyramid import Place, Pyramid
from foveal.images.tiff_pieces import Pieces, pieces


@dataclass(frozen=True)
class TiffLevel:
    """One picture of a TIFF: where its tiles or strips are, and the file to read them from."""

    layout: Pieces
    content: ByteRanges

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return self.layout.size

    @property
    def piece(self) -> tuple[int, int]:
        """Height and width of a piece."""
        return self.layout.piece

    def pieces(self, places: Sequence[Place]) -> Iterator[UInt8[Tensor, "3 _h _w"]]:
        """Read and decode tiles, or groups of strips."""
        ranges = [self.layout.ranges(*place) for place in places]
        data = iter(self.content.read([each for group in ranges for each in group]))
        for place, group in zip(places, ranges, strict=True):
            yield self.layout.decoded(list(itertools.islice(data, len(group))), *place)


def tiff_pyramid(file: BinaryIO, content: ByteRanges) -> Pyramid:
    """The levels of a TIFF, the full size first; none where it must be decoded whole.

    Args:
        file: at its beginning.
        content: the same, to read tiles from later.

    Raises:
        UnsupportedTiff, ImageError, OSError: it cannot be used.
    """
    pages = checked_pages(file)
    length = file.seek(0, os.SEEK_END)
    if not pages:
        return Pyramid(())
    first, nodata = pieces(pages[0], length), stated_nodata(pages[0])
    if first is None:
        return Pyramid((), nodata=nodata)
    smaller = [*pages[1:], *tiff.directories_below(file, pages[0])]
    found = [pieces(page, length) for page in smaller if tiff.is_level(page, pages[0])]
    levels = [first, *(level for level in found if level is not None)]
    check_area(
        min((level.size for level in levels), key=math.prod),
        "files without smaller copies",
        "save it as a tiled TIFF with a pyramid",
        whole=False,
    )
    orientation = pages[0].get(274, 1)
    return Pyramid(
        [TiffLevel(level, content) for level in levels],
        orientation if orientation in range(1, 9) else 1,
        nodata,
    )
