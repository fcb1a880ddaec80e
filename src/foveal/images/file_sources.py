"""The pixels of a file as they are stored: whole once decoded, or piece by piece.

`open_source` chooses by the content of the file. A source gives levels: the picture at full size,
or a smaller copy that is large enough for a view. A level gives the pixels of its regions.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from foveal.images.decoding import Decoded, opened, stored_layout
from foveal.images.locations import Location
from foveal.images.nodata import Colour
from foveal.images.opening import open_pyramid
from foveal.images.pyramid import Level, Place, Pyramid
from foveal.images.refusals import reading
from foveal.images.resampling import resampled_bands
from foveal.images.tile_cache import TileCache

LARGE = 2**24  # pixels; of what has more, it is worth to keep a smaller copy
_BAND = 2**22  # pixels of rows that are resampled together


def open_source(path: Location, cache: TileCache) -> "WholeFile | TiledFile":
    """Read the header of a file, and keep in the cache what is decoded of its pieces."""
    with reading(path):
        pyramid = open_pyramid(path)
    if pyramid is not None and pyramid.levels:
        return TiledFile(pyramid, path, cache)
    nodata = None if pyramid is None else pyramid.nodata
    with opened(path) as image:
        return WholeFile(path, *stored_layout(image), nodata)


def area(level: "AnyLevel") -> int:
    """Number of pixels of a level."""
    return level.size[0] * level.size[1]


def bands(level: "AnyLevel") -> Iterator[UInt8[Tensor, "3 _b W"]]:
    """A level from top to bottom, in bands of about 4 megapixels."""
    height, width = level.size
    unit = level.piece[0] if isinstance(level, TiledLevel) else 1  # rows read together
    rows = max(1, _BAND // (width * unit)) * unit
    for top in range(0, height, rows):
        yield level.region(top, 0, min(top + rows, height), width)


class WholeFile:
    """A file that can only be decoded whole: once, and then kept with this object."""

    in_parts = False

    def __init__(
        self, path: Location, size: tuple[int, int], orientation: int, nodata: Colour | None
    ) -> None:
        self.path, self.size, self.orientation, self.nodata = path, size, orientation, nodata
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

    glanced_level = level


class TiledFile:
    """A file of which only the pieces that are asked for are read."""

    in_parts = True

    def __init__(self, pyramid: Pyramid, path: Location, cache: TileCache) -> None:
        tiles = _Tiles(path, cache)
        self.size, self.orientation = pyramid.levels[0].size, pyramid.orientation
        self.nodata = pyramid.nodata
        self._levels = [TiledLevel(n, each, tiles) for n, each in enumerate(pyramid.levels)]

    def level(self, at_least: tuple[int, int]) -> "TiledLevel":
        """The smallest level at least this large."""
        height, width = at_least
        enough = [e for e in self._levels if e.size[0] >= height and e.size[1] >= width]
        return min(enough or self._levels[:1], key=lambda each: each.size)

    def glanced_level(self, at_least: tuple[int, int]) -> "TiledLevel | ReducedLevel":
        """As `level`; of one that is large, a copy of at most 4 megapixels if that is enough."""
        level = self.level(at_least)
        halvings = 0
        while area(level) >> 2 * halvings > LARGE // 4:
            halvings += 1
        size = (level.size[0] >> halvings, level.size[1] >> halvings)
        if area(level) <= LARGE or size[0] < at_least[0] or size[1] < at_least[1]:
            return level
        return ReducedLevel(level.small(size))


@dataclass(frozen=True)
class TiledLevel:
    """One size of a picture: its number, how its pieces are read, and those read already."""

    number: int
    stored: Level
    tiles: "_Tiles"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return self.stored.size

    @property
    def piece(self) -> tuple[int, int]:
        """Height and width of a piece."""
        return self.stored.piece

    def small(self, size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
        """All of it resampled to `size`, antialiased; of a large one this is kept."""

        def read() -> UInt8[Tensor, "3 h w"]:
            pixels = resampled_bands(bands(self), self.size[0], size)
            return (pixels * 255).round_().to(torch.uint8)

        return read() if area(self) <= LARGE else self.tiles.keep(self.number, size, read)

    def region(self, top: int, left: int, bottom: int, right: int) -> UInt8[Tensor, "3 h w"]:
        """Read the pieces under a window, and put them together; strides are channels last."""
        height, width = self.piece
        rows = range(top // height, -(-bottom // height))
        columns = range(left // width, -(-right // width))
        places = [(row, column) for row in rows for column in columns]
        found = torch.empty(bottom - top, right - left, 3, dtype=torch.uint8).permute(2, 0, 1)
        for (row, column), tile in self.tiles.read(self.number, self.stored, places):
            y, x = row * height, column * width
            y0, x0 = max(y, top), max(x, left)
            y1, x1 = min(y + height, bottom), min(x + width, right)
            found[:, y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                :, y0 - y : y1 - y, x0 - x : x1 - x
            ]
        return found


@dataclass(frozen=True)
class ReducedLevel:
    """A smaller copy of a picture in memory, as if the file had it."""

    pixels: UInt8[Tensor, "3 h w"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return (self.pixels.shape[1], self.pixels.shape[2])

    def region(self, top: int, left: int, bottom: int, right: int) -> UInt8[Tensor, "3 h w"]:
        """The pixels of a window."""
        return self.pixels[:, top:bottom, left:right]


AnyLevel = Decoded | TiledLevel | ReducedLevel


class _Tiles:
    """The pieces of one file, read when they are asked for and kept in a cache."""

    def __init__(self, path: Location, cache: TileCache) -> None:
        self.path, self.cache = path, cache
        self._number = cache.number()

    def read(
        self, number: int, level: Level, places: Sequence[Place]
    ) -> Iterator[tuple[Place, UInt8[Tensor, "3 _h _w"]]]:
        """The pieces at places of a level, in any order."""
        kept = {place: self.cache.get((self._number, number, *place)) for place in places}
        missing = [place for place, pixels in kept.items() if pixels is None]
        with reading(self.path):
            for place, pixels in zip(missing, level.pieces(missing), strict=True):
                self.cache.put((self._number, number, *place), pixels)
                yield place, pixels
        yield from ((place, pixels) for place, pixels in kept.items() if pixels is not None)

    def keep(
        self, level: int, size: tuple[int, int], read: Callable[[], UInt8[Tensor, "3 h w"]]
    ) -> UInt8[Tensor, "3 h w"]:
        """A smaller copy of a level."""
        key = (self._number, "copy", level, *size)
        pixels = self.cache.get(key)
        if pixels is None:
            pixels = read()
            self.cache.put(key, pixels)
        return pixels
