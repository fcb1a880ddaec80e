"""Every kind of PNG, JPEG and WebP is read as what it shows, or refused in words."""

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from foveal.images import ImageError, read
from png_files import GRAY, GRAY_ALPHA, PALETTE, RGB, RGB_ALPHA, SAMPLES, png

PNG_KINDS = [
    *((GRAY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((colour, bits) for colour in (RGB, GRAY_ALPHA, RGB_ALPHA) for bits in (8, 16)),
]


def pixels_of(content: bytes, path: Path) -> NDArray[np.int64]:
    path.write_bytes(content)
    return read(path).permute(1, 2, 0).numpy().astype(np.int64)


def over_white(colour: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    return 255 * (np.broadcast_to(colour, (*colour.shape[:2], 3)) * alpha + 1 - alpha)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "bits"), PNG_KINDS)
def test_every_kind_of_png_is_read_exactly(
    tmp_path: Path, colour: int, bits: int, interlaced: bool
) -> None:
    random = np.random.default_rng(bits)
    values = random.integers(0, 1 << bits, (13, 21, SAMPLES[colour]))
    share, opaque, chunks = values / ((1 << bits) - 1), np.ones((13, 21, 1)), {}
    if colour == PALETTE:
        table = random.integers(0, 256, (1 << bits, 3))
        chunks[b"PLTE"] = table.astype(np.uint8).tobytes()
        share = table[values[..., 0]] / 255
    elif colour in (GRAY_ALPHA, RGB_ALPHA):
        share, opaque = share[..., :-1], share[..., -1:]
    content = png(values, colour, bits, interlaced=interlaced, chunks=chunks)
    found = pixels_of(content, tmp_path / "a.png")
    # Pillow takes the upper byte of 16-bit colours, and rounds again where it blends
    allowed = 2 if bits == 16 and colour in (GRAY_ALPHA, RGB_ALPHA) else 1
    assert np.abs(found - over_white(share, opaque)).max() <= allowed


@pytest.mark.parametrize(("colour", "bits"), [kind for kind in PNG_KINDS if kind[0] < GRAY_ALPHA])
def test_a_transparent_colour_of_a_png_is_white_and_no_other(
    tmp_path: Path, colour: int, bits: int
) -> None:
    highest = (1 << bits) - 1
    values = np.arange(13 * 21).reshape(13, 21, 1) * (1 if bits == 8 else 37) % (highest + 1)
    values = np.repeat(values, SAMPLES[colour], axis=2)
    for key in {1, highest // 3, highest - 1}:
        if colour == PALETTE:
            table = np.random.default_rng(0).integers(0, 255, (highest + 1, 3))
            alpha = np.where(np.arange(highest + 1) == key, 0, 255)
            share, opaque = table[values[..., 0]] / 255, alpha[values] / 255
            raw = [part.astype(np.uint8).tobytes() for part in (table, alpha)]
            chunks = dict(zip((b"PLTE", b"tRNS"), raw, strict=True))
        else:
            share, opaque = values / highest, 1.0 - (values[..., :1] == key)
            chunks = {b"tRNS": struct.pack(f">{SAMPLES[colour]}H", *[key] * SAMPLES[colour])}
        content = png(values, colour, bits, chunks=chunks)
        if (colour, bits) == (RGB, 16):
            with pytest.raises(ImageError, match="16-bit RGB with a transparent colour"):
                pixels_of(content, tmp_path / "a.png")
        else:
            found = pixels_of(content, tmp_path / "a.png")
            assert np.abs(found - over_white(share, opaque)).max() <= 1, key


LONG = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + LONG),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        (b"iCCP", b"profile\0\0" + LONG),
        (b"eXIf", b"not EXIF"),
        (b"gAMA", struct.pack(">L", 100000)),
        (b"vpAg", b"private"),
    ],
    ids=lambda chunk: chunk[0].decode(),
)
def test_metadata_change_no_pixel_of_a_png(tmp_path: Path, chunk: tuple[bytes, bytes]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3))
    content = png(values, RGB, 8, chunks=dict([chunk]))
    assert np.array_equal(pixels_of(content, tmp_path / "a.png"), values)


# JPEG

Y, X, PHASE = np.mgrid[:40, :64, :4]
PICTURE = (127 + 100 * np.sin(Y / 17 + X / 23 + 2 * PHASE)).astype(np.uint8)


def encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=100, **options)
    return stream.getvalue()


COLOUR = Image.fromarray(PICTURE[..., :3].copy())


@pytest.mark.parametrize(
    "options",
    [
        *({"subsampling": s, "progressive": p} for s, p in itertools.product((0, 1, 2), (0, 1))),
        {"keep_rgb": True},
        {"restart_marker_blocks": 2},
        {"comment": b"x" * 60000},
    ],
    ids=str,
)
def test_every_kind_of_colour_jpeg_is_read_within_its_loss(
    tmp_path: Path, options: dict[str, object]
) -> None:
    found = pixels_of(encoded(COLOUR, **options), tmp_path / "a.jpg")
    assert np.abs(found - PICTURE[..., :3]).max() <= 8


def test_a_gray_jpeg_is_read_within_its_loss(tmp_path: Path) -> None:
    gray = Image.fromarray(PICTURE[..., 0].copy())
    found = pixels_of(encoded(gray), tmp_path / "a.jpg")
    assert np.abs(found - PICTURE[..., [0, 0, 0]]).max() <= 2


def cmyk_jpeg(transform: int) -> bytes:
    """CMYK as Adobe stores it, inverted: plain (0), or as YCCK (2)."""
    ink = PICTURE.copy()
    if transform == 2:
        ycc = Image.fromarray(ink[..., :3].copy()).convert("YCbCr")
        # Pillow inverts all four samples
        ink = np.concatenate([255 - np.asarray(ycc), ink[..., 3:]], axis=2)
    content = encoded(Image.frombytes("CMYK", (64, 40), ink.tobytes()))
    place = content.index(b"Adobe") + 11
    return content[:place] + bytes([transform]) + content[place + 1 :]


@pytest.mark.parametrize("transform", [0, 2])
def test_a_cmyk_jpeg_of_adobe_is_read_within_its_loss(tmp_path: Path, transform: int) -> None:
    found = pixels_of(cmyk_jpeg(transform), tmp_path / "a.jpg")
    ink = PICTURE / 255
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert np.abs(found - expected).max() <= 6


def test_cmyk_of_unknown_polarity_is_refused_in_words(tmp_path: Path) -> None:
    content = cmyk_jpeg(0)
    start = content.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    with pytest.raises(ImageError, match=r"CMYK JPEG without Adobe's marker.*; save it as RGB"):
        pixels_of(content[:start] + content[end:], tmp_path / "a.jpg")


def test_a_jpeg_of_12_bits_is_refused_in_words(tmp_path: Path) -> None:
    content = bytearray(encoded(COLOUR))
    content[content.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match=r"JPEG of an unsupported kind.*12-bit.*; convert it"):
        pixels_of(bytes(content), tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("metadata", [b"Exif\0\0not EXIF", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_metadata_that_cannot_be_read_change_no_pixel_of_a_jpeg(
    tmp_path: Path, metadata: bytes
) -> None:
    content = encoded(COLOUR)
    segment = b"\xff\xe1" + struct.pack(">H", len(metadata) + 2) + metadata
    found = pixels_of(content[:2] + segment + content[2:], tmp_path / "a.jpg")
    assert np.array_equal(found, pixels_of(content, tmp_path / "b.jpg"))


# WebP


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_lossless_webp_is_read_exactly(tmp_path: Path, mode: str) -> None:
    picture = PICTURE[..., : len(mode)]
    image = Image.frombytes(mode, (64, 40), picture.tobytes())
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    found = read(tmp_path / "a.webp").permute(1, 2, 0).numpy()
    opaque = picture[..., 3:] / 255 if mode == "RGBA" else np.ones((40, 64, 1))
    assert np.abs(found - over_white(picture[..., :3] / 255, opaque)).max() <= 1


@pytest.mark.parametrize("suffix", [".avif", ".ico", ".pcx"])
def test_a_format_that_is_not_read_is_refused_in_words(tmp_path: Path, suffix: str) -> None:
    try:
        COLOUR.save(tmp_path / f"a{suffix}")
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {suffix}")
    with pytest.raises(ImageError, match="unsupported format; convert it to 8-bit JPEG"):
        read(tmp_path / f"a{suffix}")


def test_a_broken_image_is_refused_in_one_line_however_large_it_says_it_is(tmp_path: Path) -> None:
    screen, largest = bytes((4, 0, 4, 0, 0, 0, 0)), b"\xff\xff" * 2
    frame = b"," + bytes(4) + largest + b"\x80"  # its palette of 6 bytes is cut
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + screen + frame + bytes((1, 2, 3, 4)))
    with pytest.raises(ImageError, match=r"a\.gif: GIF of an unsupported kind, or damaged"):
        read(tmp_path / "a.gif")
