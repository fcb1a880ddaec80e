"""The levels of a pyramid in a TIFF: the first page, and those that are smaller copies of it.

Levels are further pages (libvips, GDAL, Aperio) or directories below the first page (OME-TIFF).
"""

import math
import os
from typing import BinaryIO

from foveal.images import tiff
from foveal.images.decoding import checked_pages
from foveal.images.limits import check_area
from foveal.images.nodata import Colour, stated_nodata
from foveal.images.tiff_pieces import Pieces, pieces


def tiff_levels(file: BinaryIO) -> tuple[list[Pieces], int, Colour | None]:
    """The levels of a TIFF, the full size first, its orientation, and its colour of no data.

    Returns:
        No level where the file is no TIFF, or must be decoded whole.

    Raises:
        UnsupportedTiff, ImageError, OSError: it cannot be used.
    """
    if file.read(4) not in tiff.MAGIC:
        return [], 1, None
    pages = checked_pages(file)
    length = file.seek(0, os.SEEK_END)
    if not pages:
        return [], 1, None
    first, nodata = pieces(pages[0], length), stated_nodata(pages[0])
    if first is None:
        return [], 1, nodata
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
    return levels, orientation if orientation in range(1, 9) else 1, nodata
