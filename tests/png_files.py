"""PNG files of every kind, written chunk by chunk from the numbers of their pixels."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
# first row, first column, step down, step right of Adam7
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
_PASSES = (*_PASSES, (1, 0, 2, 1))


def png(
    values: NDArray[np.int64],
    colour: int,
    bits: int,
    *,
    interlaced: bool = False,
    chunks: dict[bytes, bytes] | None = None,
) -> bytes:
    """The bytes of a PNG of values (H, W, samples); `chunks` stand before the pixels."""
    height, width, _ = values.shape
    parts = [values[y::dy, x::dx] for y, x, dy, dx in _PASSES] if interlaced else [values]
    content = b"".join(_rows(part, bits) for part in parts if part.size)
    header = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, interlaced)
    every = {b"IHDR": header, **(chunks or {}), b"IDAT": zlib.compress(content), b"IEND": b""}
    return joined(list(every.items()))


def joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a PNG of these chunks, each a name and its data."""
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of an intact PNG."""
    found, at = [], len(SIGNATURE)
    while at < len(content):
        (length,) = struct.unpack_from(">L", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def _rows(values: NDArray[np.int64], bits: int) -> bytes:
    """Rows without a filter, each filled up to whole bytes."""
    places = values.reshape(len(values), -1, 1) >> np.arange(bits - 1, -1, -1) & 1
    packed = np.packbits(places.astype(np.uint8).reshape(len(values), -1), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)
