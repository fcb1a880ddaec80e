"""Boxes around the evidence, from `boxes.csv`; used only to report whether windows hit them."""

import math
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data.folder import table
from foveal.data.folder.listing import ListedImage
from foveal.data.folder.table import shorten, user_error
from foveal.images import FileImage, ImageError
from foveal.images.locations import Location, is_there


def read(
    path: Path, images: Iterable[ListedImage]
) -> tuple[dict[Location, Int[Tensor, "n 4"]], tuple[str, ...]]:
    """Read `boxes.csv`: a row `file,x0,y0,x1,y1` per box, in pixels of the upright image.

    Fractional coordinates are rounded outwards. A box must lie inside its image, so the headers of
    the images are read.

    Args:
        path: the CSV; `file` is relative to its folder.
        images: the images of the data set.

    Returns:
        Boxes, top left bottom right, end excluded, by the path of the image; and notes. Boxes of
        files that exist but are not in the data set are ignored.

    Raises:
        UserError: a row is not a box, names an unknown file, or lies outside its image.
    """
    known = {image.path for image in images}
    found: dict[Location, list[tuple[int, int, int, int]]] = defaultdict(list)
    malformed, unknown, outside, unlisted = [], [], [], 0
    rows = table.read(path, ("file", "x0", "y0", "x1", "y1"))
    size = cache(_size)
    for line, cells in rows:
        place = f"{cells['file']} (line {line})"
        file = table.find_file(path.parent, cells["file"])
        box = _box(cells)
        if box is None:
            malformed.append(place)
        elif file not in known:
            unlisted += is_there(file)
            unknown += [] if is_there(file) else [place]
        else:
            height, width = size(file) or (math.inf, math.inf)
            top, left, bottom, right = box
            if top < 0 or left < 0 or bottom > height or right > width:
                outside.append(f"{place} in {height} x {width} pixels")
            found[file].append(box)
    remedy = "coordinates must be numbers with x0 < x1 and y0 < y1"
    _refuse(path, len(rows), malformed, "not a box", remedy)
    _refuse(path, len(rows), unknown, "about unknown files", f"names are relative to {path.parent}")
    _refuse(
        path,
        len(rows),
        outside,
        "outside the image",
        "give pixels of the upright image, clipped to it",
    )
    notes = (
        (f"ignored {unlisted} boxes of images that are not in the data set",) if unlisted else ()
    )
    return {file: torch.tensor(drawn) for file, drawn in found.items()}, notes


def _box(cells: dict[str, str]) -> tuple[int, int, int, int] | None:
    try:
        x0, y0, x1, y1 = (float(cells[name]) for name in ("x0", "y0", "x1", "y1"))
        box = (math.floor(y0), math.floor(x0), math.ceil(y1), math.ceil(x1))
    except (ValueError, OverflowError):
        return None
    return box if x0 < x1 and y0 < y1 else None


def _size(file: Location) -> tuple[int, int] | None:
    try:
        return FileImage(file).size
    # `check` reports unreadable images
    except ImageError:
        return None


def _refuse(path: Path, rows: int, bad: list[str], what: str, remedy: str) -> None:
    if bad:
        names = shorten(bad)
        raise user_error(f"{path}: {len(bad)} of {rows} rows are {what}: {names}; {remedy}")
