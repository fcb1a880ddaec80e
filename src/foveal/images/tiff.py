"""Which TIFF files are read, judged by their tags before a pixel is decoded.

A TIFF is a container: samples of any width and type, of many colour models, in strips, tiles or
planes, in dozens of compressions. Pillow decodes a part of this, and a few combinations wrongly.
`check` lets those pass that are read exactly, and refuses the others in words; docs/formats.md has
the table. Tags are named as in TIFF 6.0.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from foveal.errors import UserError
from foveal.images.libtiff import is_configured

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # also BigTIFF

_WHITE_IS_ZERO, _GRAY, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {
    _WHITE_IS_ZERO: "gray, white is zero",
    _GRAY: "gray",
    _RGB: "RGB",
    _PALETTE: "palette",
    4: "transparency mask",
    _CMYK: "CMYK",
    _YCBCR: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
_BITS = {
    _WHITE_IS_ZERO: (1, 2, 4, 8, 16),
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _CMYK: (8,),
    _YCBCR: (8,),
}
# samples of a pixel beyond its colour: 0 unspecified, 1 associated alpha, 2 unassociated alpha
_EXTRA: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {
    (_GRAY, 8): ((0,), (1,), (2,)),
    (_RGB, 8): tuple((first, *(0,) * more) for first in (0, 1, 2) for more in (0, 1, 2)),
    (_RGB, 16): ((0,), (2,)),
    (_PALETTE, 8): ((0,), (2,)),
    (_CMYK, 8): ((0,), (0, 0)),
}
_UNCOMPRESSED, _JPEG = 1, 7
_FAX = (2, 3, 4)
_PREDICTED = {5: "LZW", 8: "Deflate", 32946: "Deflate", 34925: "LZMA", 50000: "Zstandard"}
_COMPRESSIONS = {
    **_PREDICTED,
    **dict.fromkeys(_FAX, "fax"),
    _UNCOMPRESSED: "none",
    6: "old-style JPEG",
    _JPEG: "JPEG",
    32773: "PackBits",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
}
_READ = (_UNCOMPRESSED, *_FAX, *_PREDICTED, _JPEG, 32773)


class UnsupportedTiff(UserError):
    """A sound TIFF of a kind that is not read exactly; the message says which."""


@dataclass(frozen=True)
class _Layout:
    """How pixels are stored; the names are those of the tags."""

    colour: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    samples: int
    extra: tuple[int, ...]
    compression: int
    planes: bool
    predictor: int
    fill_order: int
    big_endian: bool


def check(directory: ImageFileDirectory_v2) -> None:
    """Let a picture pass that is read exactly.

    Raises:
        UnsupportedTiff: any other.
    """
    if directory.get(254, 0) & 1:
        raise UnsupportedTiff("its first image is a reduced copy of another")
    reason = _refusal(directory)
    if reason is not None:
        raise UnsupportedTiff(reason)


def _refusal(directory: ImageFileDirectory_v2) -> str | None:
    """Why a page is not read exactly."""
    if 262 not in directory:
        return "a TIFF without a photometric interpretation"
    layout = _layout(directory)
    reason = _colour_refusal(layout) or _storage_refusal(layout)
    return None if reason is None else f"a TIFF {reason} is not supported"


def directories(file: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """The directories of all pages, in order; a chain that returns to itself ends there."""
    header = _header(file)
    directory, seen = ImageFileDirectory_v2(header), set[int]()
    while (offset := directory.next) and offset not in seen:
        seen.add(offset)
        directory = _directory_at(file, header, offset)
        yield directory


def directories_below(
    file: BinaryIO, page: ImageFileDirectory_v2
) -> Iterator[ImageFileDirectory_v2]:
    """The directories that a page refers to as its own (SubIFDs)."""
    offsets = page.get(330, ())
    header = _header(file)
    for offset in offsets if isinstance(offsets, tuple) else (offsets,):
        yield _directory_at(file, header, offset)


def _header(file: BinaryIO) -> bytes:
    file.seek(0)
    header = file.read(8)
    if header.startswith(b"MM\0+"):
        raise UnsupportedTiff("a big-endian BigTIFF is not supported")
    return header + (file.read(8) if header[2] == 43 else b"")  # BigTIFF


def _directory_at(file: BinaryIO, header: bytes, offset: int) -> ImageFileDirectory_v2:
    file.seek(offset)
    directory = ImageFileDirectory_v2(header)
    directory.load(file)
    if header[2] == 43 and 330 not in directory and (below := _below(file, offset)):
        directory[330] = below
    return directory


def _below(file: BinaryIO, offset: int) -> tuple[int, ...]:
    """The SubIFDs of a BigTIFF's directory; Pillow leaves out their type, IFD8."""
    file.seek(offset)
    (entries,) = struct.unpack("<Q", file.read(8))
    for _ in range(entries):
        number, kind, count, value = struct.unpack("<HHQQ", file.read(20))
        if (number, kind) == (330, 18) and count <= 64:
            file.seek(value)
            return (value,) if count == 1 else struct.unpack(f"<{count}Q", file.read(8 * count))
    return ()


def is_smaller_copy(page: Mapping[int, Any], first: Mapping[int, Any]) -> bool:
    """Whether a page is a level of the first, or is marked as a reduced copy or a mask."""
    return page.get(254, 0) & 0b101 != 0 or is_smaller_in_shape(_size(page), _size(first))


def is_level(page: ImageFileDirectory_v2, first: ImageFileDirectory_v2) -> bool:
    """Whether a page is a smaller copy of the whole first one, of a kind that is read."""
    is_picture = not page.get(254, 0) & 0b100
    return is_picture and is_smaller_in_shape(_size(page), _size(first)) and not _refusal(page)


def _size(page: Mapping[int, Any]) -> tuple[int, int]:
    return int(page[257]), int(page[256])


def is_smaller_in_shape(size: tuple[int, int], first: tuple[int, int]) -> bool:
    """Whether a height and width are smaller than others, in the same proportion."""
    (height, width), (h, w) = first, size
    return w < width and h < height and abs(w * height - h * width) <= 2 * (width + height)


def _layout(directory: ImageFileDirectory_v2) -> _Layout:
    samples = directory.get(277, 1)
    bits = directory.get(258, (1,))
    return _Layout(
        colour=directory[262],
        bits=bits * min(samples, 8) if len(bits) == 1 else bits,
        formats=directory.get(339, (1,)),
        samples=samples,
        extra=directory.get(338, ()),
        compression=directory.get(259, _UNCOMPRESSED),
        planes=directory.get(284, 1) == 2,
        predictor=directory.get(317, 1),
        fill_order=directory.get(266, 1),
        big_endian=directory.prefix == b"MM",
    )


def _colour_refusal(layout: _Layout) -> str | None:
    """What of the meaning of the samples is not supported."""
    colour, depth, extra = layout.colour, layout.bits[0], layout.extra
    kinds = {2: "signed", 3: "floating-point"}
    if set(layout.formats) != {1}:
        kind = kinds.get(max(layout.formats), "undefined")
        return f"of {kind} samples of {depth} bits, whose range is unknown,"
    name = _COLOURS.get(colour, f"photometric interpretation {colour}")
    if set(layout.bits) != {depth} or depth not in _BITS.get(colour, ()):
        return f"of {'+'.join(map(str, sorted(set(layout.bits))))}-bit samples ({name})"
    expected = {_RGB: 3, _CMYK: 4, _YCBCR: 3}.get(colour, 1)
    if layout.samples != expected + len(extra) or len(layout.bits) != layout.samples:
        return f"of {layout.samples} samples per pixel ({name}), {len(extra)} of them named extra,"
    if extra and extra not in _EXTRA.get((colour, depth), ()):
        kinds = {0: "unspecified", 1: "associated alpha", 2: "alpha"}
        named = ", ".join(kinds.get(e, str(e)) for e in extra)
        return f"of {depth}-bit {name} with extra samples ({named})"
    if colour == _WHITE_IS_ZERO and depth == 16 and layout.big_endian:
        return "of 16-bit gray, big-endian, with zero for white"
    return None


def _storage_refusal(layout: _Layout) -> str | None:
    """What of the way in which the samples are stored is not supported."""
    colour, depth, compression = layout.colour, layout.bits[0], layout.compression
    name = _COMPRESSIONS.get(compression, f"number {compression}")
    if compression not in _READ or not is_configured(compression):
        return f"compressed with {name}"
    if compression in _FAX and depth != 1:
        return f"of {depth}-bit samples compressed as a fax"
    if compression == _JPEG and (depth != 8 or layout.extra or colour in (_PALETTE, _CMYK)):
        return f"of {depth}-bit {_COLOURS[colour]} samples compressed with JPEG"
    if colour == _YCBCR and compression != _JPEG:
        return f"of YCbCr samples with compression {name}"
    if layout.predictor != 1 and (
        layout.predictor != 2 or depth < 8 or compression not in _PREDICTED
    ):
        return f"of {depth}-bit samples with predictor {layout.predictor} and compression {name}"
    if layout.fill_order != 1 and compression not in _FAX:
        return "with reversed bits (fill order 2)"
    if layout.planes and _planes_are_misread(layout):
        return f"of {depth}-bit samples in separate planes with compression {name}"
    return None


def _planes_are_misread(layout: _Layout) -> bool:
    alpha_alone = layout.colour == _RGB and len(layout.extra) == 1
    return layout.compression == _JPEG or (any(layout.extra) and not alpha_alone)
