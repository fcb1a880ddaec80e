"""TIFF files of every kind, written tag by tag from the numbers of their pixels."""

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.generic]  # (H, W, samples)

GRAY, WHITE_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 1, 0, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 7, 8, 32946, 32773, 34925, 50000


@dataclass(frozen=True)
class Layout:
    """How a TIFF stores its pixels; the names are those of the tags.

    Attributes:
        extra: ExtraSamples: 0 unspecified, 1 associated alpha, 2 unassociated alpha.
        tile: side of square tiles; 0: strips of 5 rows.
        planes: PlanarConfiguration is 2, one plane per sample.
        tags: further tags, or others than those written: number -> SHORT values, or text, or
            fractions; None: left out.
        encode: the bytes of a strip, tile or plane from its values; None: as `compression` says.
    """

    photometric: int = RGB
    bits: int = 8
    sample_format: int = UNSIGNED
    extra: tuple[int, ...] = ()
    compression: int = NONE
    planes: bool = False
    tile: int = 0
    big_endian: bool = False
    bigtiff: bool = False
    predictor: int = 1
    fill_order: int = 1
    colormap: Sequence[int] = ()
    tags: dict[int, Sequence[int] | str | Sequence[float] | None] = field(default_factory=dict)
    encode: Callable[[Values], bytes] | None = None

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return {RGB: 3, CMYK: 4, YCBCR: 3, LAB: 3}.get(self.photometric, 1) + len(self.extra)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the values in memory."""
        kind = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[self.sample_format]
        width = next(b for b in (8, 16, 32, 64) if b >= self.bits) // 8
        return np.dtype(f"{'>' if self.big_endian else '<'}{kind}{width}")


HEIGHT, WIDTH = 7, 18
# what docs/formats.md promises: colour and bits -> extra samples
READ = {
    (GRAY, 1): ((),),
    (GRAY, 2): ((),),
    (GRAY, 4): ((),),
    (GRAY, 8): ((), (0,), (1,), (2,)),
    (GRAY, 16): ((),),
    (WHITE_IS_ZERO, 1): ((),),
    (WHITE_IS_ZERO, 2): ((),),
    (WHITE_IS_ZERO, 4): ((),),
    (WHITE_IS_ZERO, 8): ((),),
    (WHITE_IS_ZERO, 16): ((),),
    (RGB, 8): ((), (0,), (1,), (2,), (0, 0), (1, 0), (2, 0), (0, 0, 0)),
    (RGB, 16): ((), (0,), (2,)),
    (PALETTE, 1): ((),),
    (PALETTE, 2): ((),),
    (PALETTE, 4): ((),),
    (PALETTE, 8): ((), (0,), (2,)),
    (CMYK, 8): ((), (0,), (0, 0)),
}
READABLE = [(*kind, extra) for kind, extras in READ.items() for extra in extras]


def layout(colour: int, bits: int, extra: tuple[int, ...], **options: object) -> Layout:
    """A layout; with a palette, of random colours."""
    table = np.random.default_rng(bits).integers(0, 65536, 3 << bits) if colour == PALETTE else []
    return Layout(colour, bits, extra=extra, colormap=[*map(int, table)], **options)


def random(kind: Layout, height: int = HEIGHT, width: int = WIDTH) -> Values:
    """Random values of a layout; with associated alpha, colours are at most alpha."""
    generator, shape = np.random.default_rng(0), (height, width, kind.samples)
    if kind.sample_format == FLOAT:
        return generator.random(shape).astype(kind.dtype)
    values = generator.integers(0, 1 << min(kind.bits, 31), shape).astype(kind.dtype)
    if kind.extra[:1] == (1,):
        first = kind.samples - len(kind.extra)
        values[..., :first] = np.minimum(values[..., :first], values[..., first : first + 1])
    return values


def tiff(pages: Sequence[tuple[Values, Layout]] | Values, layout: Layout = Layout()) -> bytes:
    """The bytes of a TIFF with one page, or with several of the same byte order."""
    if isinstance(pages, np.ndarray):
        pages = [(pages, layout)]
    layout = pages[0][1]
    order, wide = "><"[not layout.big_endian], layout.bigtiff
    start = (b"MM" if layout.big_endian else b"II") + struct.pack(
        order + ("HHH" if wide else "H"), *((43, 8, 0) if wide else (42,))
    )
    position, offset = ("Q", 16) if wide else ("L", 8)
    content = start + struct.pack(order + position, offset)
    for number, (values, each) in enumerate(pages):
        content += _directory(values, each, len(content), last=number == len(pages) - 1)
    return content


def _directory(values: Values, layout: Layout, offset: int, last: bool) -> bytes:
    """A directory at an offset, then its data."""
    order, wide = "><"[not layout.big_endian], layout.bigtiff
    pieces = [_encoded(piece, layout) for piece in _pieces(values, layout)]
    given = {**_tags(values, layout), **layout.tags}
    tags = {n: v if isinstance(v, str) else tuple(v) for n, v in given.items() if v}
    places, counts = (324, 325) if layout.tile else (273, 279)
    lengths = layout.tags.get(counts) or tuple(map(len, pieces))
    tags |= {places: (0,) * len(pieces), counts: lengths}
    entry, count, position = (20, "Q", "Q") if wide else (12, "H", "L")
    data_at = offset + struct.calcsize(order + count) + entry * len(tags) + (8 if wide else 4)
    sizes = {n: _packed(v, n, order) for n, v in tags.items()}
    room = sum(len(data) for data in sizes.values() if len(data) > (8 if wide else 4))
    starts = np.cumsum([0, *map(len, pieces)])[:-1] + data_at + room
    sizes[places] = _packed(tuple(map(int, starts)), places, order)
    entries, data = b"", b""
    for number in sorted(tags):
        value = sizes[number]
        kind = _kind(tags[number], number)
        count_of = len(tags[number]) + (kind == ASCII)
        entries += struct.pack(order + "HH" + position, number, kind, count_of)
        if len(value) > (8 if wide else 4):
            entries += struct.pack(order + position, data_at + len(data))
            data += value
        else:
            entries += value.ljust(8 if wide else 4, b"\0")
    body = data + b"".join(pieces)
    following = 0 if last else data_at + len(body)
    head = struct.pack(order + count, len(tags))
    return head + entries + struct.pack(order + position, following) + body


ASCII, SHORT, LONG, DOUBLE = 2, 3, 4, 12


def _kind(values: Sequence[int] | str, number: int) -> int:
    if isinstance(values, str):
        return ASCII
    if any(isinstance(value, float) for value in values):
        return DOUBLE
    return LONG if number in (273, 279, 324, 325, 256, 257) else SHORT


def _packed(values: Sequence[int] | str, number: int, order: str) -> bytes:
    if isinstance(values, str):
        return values.encode() + b"\0"
    kind = {SHORT: "H", LONG: "L", DOUBLE: "d"}[_kind(values, number)]
    return struct.pack(f"{order}{len(values)}{kind}", *values)


def _tags(values: Values, layout: Layout) -> dict[int, Sequence[int] | None]:
    height, width, samples = values.shape
    return {
        256: (width,),
        257: (height,),
        258: (layout.bits,) * samples,
        259: (layout.compression,),
        262: (layout.photometric,),
        266: None if layout.fill_order == 1 else (layout.fill_order,),
        277: (samples,),
        278: None if layout.tile else (5,),
        284: (2,) if layout.planes else (1,),
        317: None if layout.predictor == 1 else (layout.predictor,),
        320: layout.colormap,
        322: (layout.tile,) if layout.tile else None,
        323: (layout.tile,) if layout.tile else None,
        338: layout.extra,
        339: (layout.sample_format,) * samples,
    }


def _pieces(values: Values, layout: Layout) -> list[Values]:
    """The strips or tiles, plane by plane."""
    planes = np.split(values, values.shape[2], axis=2) if layout.planes else [values]
    if not layout.tile:
        return [plane[top : top + 5] for plane in planes for top in range(0, len(plane), 5)]
    side, (height, width) = layout.tile, values.shape[:2]
    padded = [np.pad(p, ((0, -height % side), (0, -width % side), (0, 0))) for p in planes]
    return [
        plane[top : top + side, left : left + side]
        for plane in padded
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def _encoded(piece: Values, layout: Layout) -> bytes:
    if layout.encode is not None:
        return layout.encode(piece)
    if layout.predictor == 2:
        piece = np.concatenate([piece[:, :1], np.diff(piece, axis=1)], axis=1)
    rows = _rows(piece, layout)
    if layout.fill_order == 2:
        rows = np.packbits(np.unpackbits(rows, bitorder="little").reshape(len(rows), -1), axis=1)
    content = rows.tobytes()
    return {
        NONE: lambda: content,
        LZW: lambda: lzw(content),
        DEFLATE: lambda: zlib.compress(content),
        OLD_DEFLATE: lambda: zlib.compress(content),
        PACKBITS: lambda: b"".join(_literal(row.tobytes()) for row in rows),
        LZMA: lambda: lzma.compress(content, preset=0),
        ZSTD: lambda: zstd(content),
    }[layout.compression]()


def _rows(piece: Values, layout: Layout) -> NDArray[np.uint8]:
    """Bytes (H, n), each row of samples filled up to whole bytes."""
    height = len(piece)
    if layout.bits >= 8 and layout.bits != 12:
        packed = piece.astype(layout.dtype).reshape(height, -1)
        return np.ascontiguousarray(packed).view(np.uint8).reshape(height, -1)
    numbers = piece.reshape(height, -1, 1).astype(np.uint32)
    bits = numbers >> np.arange(layout.bits - 1, -1, -1, dtype=np.uint32) & 1
    return np.packbits(bits.astype(np.uint8).reshape(height, -1), axis=1)


def _literal(row: bytes) -> bytes:
    """PackBits without runs."""
    parts = [row[at : at + 128] for at in range(0, len(row), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def lzw(content: bytes) -> bytes:
    """LZW whose table is cleared before its codes grow beyond nine bits."""
    clear, end = 256, 257
    codes = [clear]
    for at in range(0, len(content), 200):
        codes += [*content[at : at + 200], clear]
    bits = np.array([*codes, end])[:, None] >> np.arange(8, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def zstd(content: bytes) -> bytes:
    """A Zstandard frame of one raw block (up to 128 KiB)."""
    frame = struct.pack("<LBL", 0xFD2FB528, 0b10100000, len(content))
    return frame + (len(content) << 3 | 1).to_bytes(3, "little") + content


def jpeg(mode: str, **options: object) -> Callable[[Values], bytes]:
    """Encode a strip or tile as JPEG."""

    def encode(piece: Values) -> bytes:
        stream = io.BytesIO()
        image = Image.fromarray(piece[..., 0] if mode == "L" else piece, mode)
        image.save(stream, "JPEG", quality=100, **options)
        return stream.getvalue()

    return encode
