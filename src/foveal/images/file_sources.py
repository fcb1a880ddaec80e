"""The pixels of a file as they are stored: whole once decoded, or piece by piece.

`open_source` chooses by the content of the file. A source gives levels: the picture at full size,
or a smaller copy that is large enough for a view. A level gives the pixels of its regions.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import UInt8
from torch import Tensor

from foveal.images.decoding import Decoded, opened, stored_layout
from foveal.images.refusals import ImageError, reading
from foveal.images.tiff_levels import tiff_levels
from foveal.images.tiff_pieces import Pieces

CACHE = 2**26  # bytes of decoded tiles that are kept for one image
_BAND = 2**22  # pixels of rows that are resampled together


def open_source(path: Path) -> "WholeFile | TiledFile":
    """Read the header of a file."""
    with reading(path), path.open("rb") as file:
        levels, orientation = tiff_levels(file)
        if levels:
            return TiledFile(path, levels, orientation, _stamp(file))
    with opened(path) as image:
        return WholeFile(path, *stored_layout(image))


def bands(level: "Decoded | TiledLevel") -> Iterator[UInt8[Tensor, "3 _b W"]]:
    """A level from top to bottom, in bands of about 4 megapixels."""
    height, width = level.size
    unit = level.layout.piece[0] if isinstance(level, TiledLevel) else 1  # rows read together
    rows = max(1, _BAND // (width * unit)) * unit
    for top in range(0, height, rows):
        yield level.region(top, 0, min(top + rows, height), width)


class WholeFile:
    """A file that can only be decoded whole: once, and then kept with this object."""

    in_parts = False

    def __init__(self, path: Path, size: tuple[int, int], orientation: int) -> None:
        self.path, self.size, self.orientation = path, size, orientation
        self._full: Decoded | None = None
        self._lock = threading.Lock()

    def level(self, at_least: tuple[int, int]) -> Decoded:
        """Decode the file, a JPEG at 1/2, 1/4 or 1/8 of its size if that is large enough."""
        with self._lock:
            if self._full is not None:
                return self._full
            with opened(self.path) as image:
                image.draft(None, (at_least[1], at_least[0]))
                level = Decoded(image)
            if level.size == self.size:
                self._full = level
            return level


class TiledFile:
    """A TIFF of which only the tiles that are asked for are read."""

    in_parts = True

    def __init__(
        self, path: Path, levels: list[Pieces], orientation: int, stamp: tuple[int, ...]
    ) -> None:
        self.size, self.orientation = levels[0].size, orientation
        tiles = _Tiles(path, stamp)
        self._levels = [TiledLevel(number, each, tiles) for number, each in enumerate(levels)]

    def level(self, at_least: tuple[int, int]) -> "TiledLevel":
        """The smallest level at least this large."""
        height, width = at_least
        enough = [e for e in self._levels if e.size[0] >= height and e.size[1] >= width]
        return min(enough or self._levels[:1], key=lambda each: each.size)


@dataclass(frozen=True)
class TiledLevel:
    """One picture of a tiled TIFF: its number, where its tiles are, and those read already."""

    number: int
    layout: Pieces
    tiles: "_Tiles"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return self.layout.size

    def region(self, top: int, left: int, bottom: int, right: int) -> UInt8[Tensor, "3 h w"]:
        """Read the tiles under a window, and put them together; strides are channels last."""
        height, width = self.layout.piece
        rows = range(top // height, -(-bottom // height))
        columns = range(left // width, -(-right // width))
        places = [(row, column) for row in rows for column in columns]
        found = torch.empty(bottom - top, right - left, 3, dtype=torch.uint8).permute(2, 0, 1)
        for (row, column), tile in self.tiles.read(self.number, self.layout, places):
            y, x = row * height, column * width
            y0, x0 = max(y, top), max(x, left)
            y1, x1 = min(y + height, bottom), min(x + width, right)
            found[:, y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                :, y0 - y : y1 - y, x0 - x : x1 - x
            ]
        return found


class _Tiles:
    """Decoded tiles of one file, those used last kept up to `CACHE` bytes; safe with threads."""

    def __init__(self, path: Path, stamp: tuple[int, ...]) -> None:
        self.path, self.stamp = path, stamp
        self._kept: OrderedDict[tuple[int, int, int], Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(
        self, level: int, layout: Pieces, places: list[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], UInt8[Tensor, "3 _h _w"]]]:
        """The tiles at rows and columns of a level."""
        with reading(self.path), self.path.open("rb") as file:
            if _stamp(file) != self.stamp:
                raise ImageError("changed while it was read; read it again when it is complete")
            for row, column in places:
                tile = self._get((level, row, column))
                if tile is None:
                    tile = layout.decoded(file, row, column)
                    self._put((level, row, column), tile)
                yield (row, column), tile

    def _get(self, key: tuple[int, int, int]) -> Tensor | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _put(self, key: tuple[int, int, int], tile: Tensor) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = tile
                self._bytes += tile.nbytes
            while self._bytes > CACHE:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _stamp(file: BinaryIO) -> tuple[int, ...]:
    """What shows that a file is still the same."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns
