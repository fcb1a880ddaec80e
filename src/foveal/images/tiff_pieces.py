"""The tiles or strips of one picture in a TIFF, each decoded by itself.

A piece of a TIFF is made a TIFF of its own, with the tags of the whole and its own size, and is
decoded by what decodes whole files: what holds for these holds for pieces, to the bit.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Int64, UInt8
from numpy import ndarray
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from foveal.images.byte_ranges import Range
from foveal.images.decoding import rgb_pixels

LARGEST_PIECE = 2**24  # pixels; a file of larger ones is decoded whole

_WIDTH, _HEIGHT, _STRIP_AT, _STRIP_ROWS, _STRIP_BYTES = 256, 257, 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_AT, _TILE_BYTES = 322, 323, 324, 325
# what the samples mean and how they are compressed, from BitsPerSample to ReferenceBlackWhite
_KEPT = (258, 259, 262, 266, 277, 284, 292, 293, 317, 320, 332, 338, 339, 347, 529, 530, 531, 532)
_MEANING = (258, 262, 277, 320, 338, 339)  # of an uncompressed sample
_STRIP_GROUP = 2**20  # pixels of neighbouring strips that are decoded together


@dataclass(frozen=True)
class Pieces:
    """Where the pieces of a picture are.

    Attributes:
        size: height and width of the picture as stored.
        piece: height and width of a piece; those at the lower and right edge may stand over.
        offsets, counts: the bytes of each tile or strip in the file, by plane, row and column.
        group: number of rows of tiles or strips in a piece.
        tags: further tags of the file of a piece: number -> values, bytes or rationals.
        order: "<" or ">", the byte order.
    """

    size: tuple[int, int]
    piece: tuple[int, int]
    offsets: Int64[ndarray, "planes rows columns"]
    counts: Int64[ndarray, "planes rows columns"]
    group: int
    tags: dict[int, Any]
    order: str

    def ranges(self, row: int, column: int) -> list[Range]:
        """Where the bytes of a piece are."""
        here = np.s_[:, row * self.group : (row + 1) * self.group, column]
        return list(
            zip(
                self.offsets[here].ravel().tolist(), self.counts[here].ravel().tolist(), strict=True
            )
        )

    def decoded(self, data: Sequence[bytes], row: int, column: int) -> UInt8[Tensor, "3 h w"]:
        """Decode a piece from the bytes of its ranges; what stands over the edge is cut off."""
        height = min(self.piece[0], self.size[0] - row * self.piece[0])
        width = min(self.piece[1], self.size[1] - column * self.piece[1])
        is_tile = _TILE_WIDTH in self.tags
        tags = {
            **self.tags,
            _HEIGHT: self.piece[0] if is_tile else height,
            _WIDTH: self.piece[1],
            _TILE_BYTES if is_tile else _STRIP_BYTES: tuple(map(len, data)),
        }
        content = _tiff(self.order, tags, _TILE_AT if is_tile else _STRIP_AT, data)
        with PIL.Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
            return rgb_pixels(image)[:, :height, :width]


def pieces(directory: ImageFileDirectory_v2, length: int) -> Pieces | None:
    """The pieces of a page that `tiff.check` has let pass; None where it must be decoded whole.

    Strips that are listed incompletely are left to libtiff, which knows how to mend some.

    Args:
        directory: the tags of the page.
        length: number of bytes of the file.

    Raises:
        OSError: tiles are missing, or lie beyond the end of the file.
    """
    height, width = directory[_HEIGHT], directory[_WIDTH]
    is_tiled = _TILE_WIDTH in directory
    if is_tiled:
        side = (directory[_TILE_HEIGHT], directory[_TILE_WIDTH])
    else:
        side = (min(directory.get(_STRIP_ROWS, height), height), width)
    if min(height, width, *side) < 1 or side[0] * side[1] > LARGEST_PIECE:
        return None
    planes = directory.get(277, 1) if directory.get(284, 1) == 2 else 1
    grid = (planes, -(-height // side[0]), -(-width // side[1]))
    names = (_TILE_AT, _TILE_BYTES) if is_tiled else (_STRIP_AT, _STRIP_BYTES)
    offsets, counts = (np.atleast_1d(np.asarray(directory.get(n, ()), np.int64)) for n in names)
    problem = _problem(offsets, counts, int(np.prod(grid)), length)
    if problem is not None:
        if is_tiled:
            raise OSError(problem)
        return None
    group = 1 if is_tiled else max(1, _STRIP_GROUP // (side[0] * side[1]))
    own = {_TILE_HEIGHT: side[0], _TILE_WIDTH: side[1]} if is_tiled else {_STRIP_ROWS: side[0]}
    return Pieces(
        size=(height, width),
        piece=(side[0] * group, side[1]),
        offsets=offsets.reshape(grid),
        counts=counts.reshape(grid),
        group=group,
        tags={n: directory[n] for n in _KEPT if n in directory} | own,
        order=">" if directory.prefix == b"MM" else "<",
    )


def shown(page: ImageFileDirectory_v2, value: int) -> UInt8[Tensor, "3"] | None:
    """The colour that is read where all samples of a page's colour have a value.

    Args:
        page: that `tiff.check` has let pass.
        value: of each sample; extra ones are opaque.

    Returns:
        None if a sample cannot have this value.
    """
    bits, samples, extra = page.get(258, (1,))[0], page.get(277, 1), page.get(338, ())
    if not 0 <= value < 1 << bits:
        return None
    order = ">" if page.prefix == b"MM" else "<"
    each = [value] * (samples - len(extra)) + [(1 << bits) - 1] * len(extra)
    each = [value << 8 - bits] if bits < 8 else each
    pixel = np.array(each, f"{order}u{2 if bits == 16 else 1}").tobytes()
    tags = {n: page[n] for n in _MEANING if n in page} | {_HEIGHT: 1, _WIDTH: 1, _STRIP_ROWS: 1}
    if tags[262] == 6:  # YCbCr, which a JPEG turns into RGB
        tags[262] = 2
    content = _tiff(order, {**tags, _STRIP_BYTES: (len(pixel),)}, _STRIP_AT, [pixel])
    with PIL.Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        return rgb_pixels(image)[:, 0, 0]


def _problem(
    offsets: Int64[ndarray, " n"], counts: Int64[ndarray, " m"], expected: int, length: int
) -> str | None:
    """What is wrong with a list of tiles, if anything."""
    if len(offsets) != expected or len(counts) != expected:
        return f"{min(len(offsets), len(counts))} of {expected} tiles are listed"
    missing = (counts < 1) | (offsets < 1)
    if missing.any():
        return f"{missing.sum()} of {expected} tiles are missing"
    beyond = offsets + counts > length
    if beyond.any():
        return f"{beyond.sum()} of {expected} tiles lie beyond the end of the file"
    return None


def _tiff(order: str, tags: dict[int, Any], places: int, data: Sequence[bytes]) -> bytes:
    """A TIFF with one page, whose tiles or strips are given; `places` is the tag of their offsets.

    All offsets are LONG: a piece is small, even where the file it comes from is a BigTIFF.
    """
    fields = {number: _field(order, values) for number, values in tags.items()}
    fields[places] = (4, len(data), bytes(4 * len(data)))
    end = 8 + 2 + 12 * len(fields) + 4
    room = sum(len(value) for _, _, value in fields.values() if len(value) > 4)
    starts = np.cumsum([end + room, *map(len, data)])[:-1]
    fields[places] = (4, len(data), struct.pack(f"{order}{len(data)}L", *map(int, starts)))
    entries, outside = b"", b""
    for number, (kind, count, value) in sorted(fields.items()):
        entries += struct.pack(order + "HHL", number, kind, count)
        if len(value) > 4:
            entries += struct.pack(order + "L", end + len(outside))
            outside += value
        else:
            entries += value.ljust(4, b"\0")
    start = (b"MM" if order == ">" else b"II") + struct.pack(order + "HL", 42, 8)
    directory = struct.pack(order + "H", len(fields)) + entries + bytes(4)
    return b"".join((start, directory, outside, *data))


def _field(order: str, values: Any) -> tuple[int, int, bytes]:
    """Type, count and bytes of a tag: UNDEFINED, SHORT, LONG or RATIONAL."""
    if isinstance(values, bytes):
        return 7, len(values), values
    each = values if isinstance(values, tuple) else (values,)
    if not all(isinstance(value, int) for value in each):
        parts = [part for value in each for part in (value.numerator, value.denominator)]
        return 5, len(each), struct.pack(f"{order}{len(parts)}L", *parts)
    kind, letter = (3, "H") if max(each) < 2**16 else (4, "L")
    return kind, len(each), struct.pack(f"{order}{len(each)}{letter}", *each)
