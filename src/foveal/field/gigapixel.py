"""Pyramidal tiled TIFFs of any size, from a texture that repeats: a gigapixel takes seconds.

A level is the texture, halved as often as the level is, in tiles of JPEG. Tiles that show the same
part of the texture are encoded once. What is pasted is in all levels.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image as Pillow

TILE = 256  # pixels
_SMALLEST = 512  # pixels; a level whose longer side is at most this is the last


@dataclass(frozen=True)
class Paste:
    """Pixels that are put onto the texture, once.

    Attributes:
        pixels: (h, w, 3).
        top: row of the first pixel.
        left: column of the first pixel.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    top: int
    left: int


def painted_texture(side: int = 1024, seed: int = 0) -> UInt8[np.ndarray, "side side 3"]:
    """A circuit board: copper tracks and pads on green, a little noise; it repeats seamlessly."""
    rng = np.random.default_rng(seed)
    is_copper = np.zeros((side, side), bool)
    for _ in range(side // 16):
        row, column, length = rng.integers(side, size=3)
        along = np.arange(column, column + length // 2) % side
        across = np.arange(row, row + 10) % side
        is_copper[np.ix_(across, along)] = True
        is_copper[np.ix_(along, across)] = True
        pad = np.arange(24)
        is_copper[np.ix_((row + pad) % side, (column + pad) % side)] = True
    return _coloured(is_copper, rng)


def board_texture(file: Path, seed: int = 0) -> UInt8[np.ndarray, "1280 1280 3"]:
    """Four times a clean image of DeepPCB, mirrored so that it repeats seamlessly.

    Raises:
        UserError: it is no such image.
    """
    from foveal.field.boards import SIDE
    from foveal.field.pixels import board

    quarter = board([file], file, None, (0, 0), side=SIDE) > 0
    half = np.hstack([quarter, quarter[:, ::-1]])
    return _coloured(np.vstack([half, half[::-1]]), np.random.default_rng(seed))


def spot(side: int = 48) -> UInt8[np.ndarray, "side side 3"]:
    """A white disc on red, which no texture has."""
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    inside = rows**2 + columns**2 < (side / 3) ** 2
    return np.where(inside[..., None], [250, 250, 250], [220, 30, 30]).astype(np.uint8)


def write_pyramid(
    file: Path,
    texture: UInt8[np.ndarray, "P P 3"],
    size: tuple[int, int],
    *,
    paste: Paste | None = None,
    quality: int = 85,
    sparse: bool = False,
) -> int:
    """Write a BigTIFF in tiles of 256 px, with a level for every halving down to 512 px.

    Args:
        file: to be written.
        texture: its side is a multiple of 2 to the number of halvings, such as 1024 or 1280.
        size: height and width in pixels.
        paste: what is put onto the texture.
        quality: of the JPEG in the tiles.
        sparse: equal tiles are stored once, however often they are shown.

    Returns:
        The bytes of all tiles together, as if each were stored.

    Raises:
        ValueError: the texture cannot be halved so often.
    """
    pages, total = list[tuple[tuple[int, int], list[int], list[int]]](), 0
    with file.open("wb") as stream:
        stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        for level in levels(texture, size, paste):
            offsets, counts = list[int](), list[int]()
            stored: dict[bytes, int] = {}
            for tile in level.tiles(partial(_jpeg, quality=quality)):
                if not (sparse and tile in stored):
                    stored[tile] = stream.tell()
                    stream.write(tile)
                offsets.append(stored[tile])
                counts.append(len(tile))
            total += sum(counts)
            pages.append((level.size, offsets, counts))
        _write_directories(stream, pages)
    return total


@dataclass(frozen=True)
class _Level:
    size: tuple[int, int]
    texture: UInt8[np.ndarray, "P P 3"]
    paste: Paste | None

    def tiles(self, encode: Callable[[UInt8[np.ndarray, "256 256 3"]], bytes]) -> Iterator[bytes]:
        """The tiles row by row; those that show the same are encoded once."""
        known: dict[tuple[int, int], bytes] = {}
        for top in range(0, self.size[0], TILE):
            for left in range(0, self.size[1], TILE):
                phase = (top % len(self.texture), left % len(self.texture))
                if self._is_pasted(top, left):
                    yield encode(self.window(top, left))
                    continue
                if phase not in known:
                    known[phase] = encode(self.window(*phase))
                yield known[phase]

    def window(self, top: int, left: int) -> UInt8[np.ndarray, "256 256 3"]:
        """The pixels of a tile."""
        pixels = _repeated(self.texture, top, left, TILE, TILE)
        if self.paste is not None and self._is_pasted(top, left):
            y, x = self.paste.top - top, self.paste.left - left
            height, width = self.paste.pixels.shape[:2]
            y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + height, TILE), min(x + width, TILE)
            pixels[y0:y1, x0:x1] = self.paste.pixels[y0 - y : y1 - y, x0 - x : x1 - x]
        return pixels

    def _is_pasted(self, top: int, left: int) -> bool:
        if self.paste is None:
            return False
        height, width = self.paste.pixels.shape[:2]
        y, x = self.paste.top - top, self.paste.left - left
        return bool(-height < y < TILE and -width < x < TILE)


def levels(
    texture: UInt8[np.ndarray, "P P 3"], size: tuple[int, int], paste: Paste | None
) -> Iterator[_Level]:
    """The levels of a pyramid, the full size first."""
    halvings = 0
    while max(size) > _SMALLEST << halvings:
        halvings += 1
    if len(texture) % (1 << halvings):
        raise ValueError(
            f"a texture of {len(texture)} px cannot be halved {halvings} times: choose a multiple "
            f"of {1 << halvings}"
        )
    if paste is not None:
        paste = _aligned(texture, paste, 1 << halvings)
    for halving in range(halvings + 1):
        yield _Level((-(-size[0] >> halving), -(-size[1] >> halving)), texture, paste)
        texture = _halved(texture) if halving < halvings else texture
        if paste is not None and halving < halvings:
            paste = Paste(_halved(paste.pixels), paste.top // 2, paste.left // 2)


def _aligned(texture: UInt8[np.ndarray, "P P 3"], paste: Paste, unit: int) -> Paste:
    """The same with as much of the texture about it as whole pixels of the last level show."""
    height, width = paste.pixels.shape[:2]
    top, left = paste.top // unit * unit, paste.left // unit * unit
    bottom, right = (-(-end // unit) * unit for end in (paste.top + height, paste.left + width))
    pixels = _repeated(texture, top, left, bottom - top, right - left)
    pixels[paste.top - top :, paste.left - left :][:height, :width] = paste.pixels
    return Paste(pixels, top, left)


def _repeated(
    texture: UInt8[np.ndarray, "P P 3"], top: int, left: int, height: int, width: int
) -> UInt8[np.ndarray, "h w 3"]:
    side = len(texture)
    rows, columns = np.arange(top, top + height) % side, np.arange(left, left + width) % side
    return texture[np.ix_(rows, columns)]


def _halved(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    height, width = pixels.shape[:2]
    cells = pixels.reshape(height // 2, 2, width // 2, 2, 3)
    return np.asarray(cells.mean(axis=(1, 3)).round().astype(np.uint8))


def _coloured(
    is_copper: Bool[np.ndarray, "h w"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    flat = np.where(is_copper[..., None], [184, 115, 60], [20, 90, 50])
    noise = rng.integers(-6, 7, (*is_copper.shape, 1))
    return np.asarray((flat + noise).astype(np.uint8))


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return stream.getvalue()


def _write_directories(
    stream: BinaryIO, pages: list[tuple[tuple[int, int], list[int], list[int]]]
) -> None:
    """A directory for each page, and where the first is into the header."""
    link = 8  # where the place of the next directory is to be written
    for number, ((height, width), offsets, counts) in enumerate(pages):
        tags = {
            254: ("<u4", [int(number > 0)]),
            256: ("<u4", [width]),
            257: ("<u4", [height]),
            258: ("<u2", [8, 8, 8]),
            259: ("<u2", [7]),  # JPEG
            262: ("<u2", [6]),  # YCbCr
            277: ("<u2", [3]),
            284: ("<u2", [1]),
            322: ("<u2", [TILE]),
            323: ("<u2", [TILE]),
            324: ("<u8", offsets),
            325: ("<u4", counts),
            530: ("<u2", [2, 2]),
        }
        at = stream.seek(0, io.SEEK_END)
        place, entries, outside = at + 8 + 20 * len(tags) + 8, b"", b""
        for tag, (kind, values) in tags.items():
            data = np.array(values, kind).tobytes()
            code = {"<u2": 3, "<u4": 4, "<u8": 16}[kind]
            entries += struct.pack("<HHQ", tag, code, len(values))
            if len(data) > 8:
                entries += struct.pack("<Q", place + len(outside))
                outside += data
            else:
                entries += data.ljust(8, b"\0")
        stream.write(struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", 0) + outside)
        stream.seek(link)
        stream.write(struct.pack("<Q", at))
        link = at + 8 + 20 * len(tags)
