"""Image files decoded to upright uint8 RGB, or a one-line error that says why they cannot be.

The EXIF orientation is applied, gray and palette become three channels, 16 bits are scaled to 8
(65535 is white), CMYK is converted, and transparent pixels are blended with white. A file of
several images is refused, unless the others are smaller copies of the first. docs/formats.md lists
what is read and what is refused.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image
import torch
from jaxtyping import UInt8
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from foveal.errors import UserError
from foveal.images import pillow_settings, tiff

LARGEST = 2**30  # pixels; 3 GiB when decoded

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM")
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_SCALED = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 0 .. 65535 to 0 .. 255, rounded
# what Pillow raises on damaged files; Warning: programs may turn warnings into errors
DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Warning,
)


class ImageError(UserError):
    """A file that cannot be used as an image; one line names the file, the fault and the remedy."""


def decoded(path: Path, at_least: tuple[int, int] | None = None) -> UInt8[Tensor, "3 h w"]:
    """Decode a file; a JPEG at 1/2, 1/4 or 1/8 of its size if that is at least `at_least`."""
    with opened(path) as image:
        if at_least is not None:
            height, width = at_least
            image.draft(None, (height, width) if orientation(image) > 4 else (width, height))
        return rgb_pixels(image)


def rgb_pixels(image: PIL.Image.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a Pillow image, upright; strides are channels last.

    Raises:
        ValueError: its pixels have no fixed range, or are of a kind that Pillow misreads.
    """
    if not _has_fixed_range(image):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range")
    if isinstance(image, TiffImageFile):
        tiff.check(image.tag_v2)
    transparent = _transparent_colour(image)
    image.load()
    if transparent is not None:
        image.info["transparency"] = transparent
    upright = _rgb(image)
    # Pillow turns a TIFF itself
    if not isinstance(image, TiffImageFile):
        upright = _turned(upright, orientation(image))
    pixels = np.empty((upright.height, upright.width, 3), np.uint8)
    # in strips, because Pillow would copy the whole image twice
    for top in range(0, upright.height, 64):
        bottom = min(top + 64, upright.height)
        pixels[top:bottom] = np.asarray(upright.crop((0, top, upright.width, bottom)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _transparent_colour(image: PIL.Image.Image) -> int | None:
    """The transparent gray of a PNG of 2 or 4 bits, scaled as Pillow scales its pixels to 8."""
    gray = image.info.get("transparency")
    scale = {"L;2": 85, "L;4": 17}.get(raw_mode(image))
    return gray * scale if scale and isinstance(gray, int) and image.format == "PNG" else None


def raw_mode(image: PIL.Image.Image) -> str:
    """How pixels not loaded yet are stored, in Pillow's words."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0][3]) if tiles else ""


def _has_fixed_range(image: PIL.Image.Image) -> bool:
    gray16 = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    return image.mode in _MODES or gray16


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode not in _MODES:  # 16-bit gray, which Pillow would clip
        stored = np.asarray(image)
        values = _SCALED[stored]
        if _white_is_zero(image):
            values = 255 - values
        if "transparency" in image.info:
            values[stored == image.info["transparency"]] = 255
        return PIL.Image.fromarray(values).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    opaque = PIL.Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def _white_is_zero(image: PIL.Image.Image) -> bool:
    return isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0


def orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation 1..8; 5 and above swap height and width. Read without decoding."""
    try:
        # not image.getexif(), which decodes a PNG
        return int(PIL.Image.Image.getexif(image).get(274, 1))
    except DAMAGE:
        return 1


def _turned(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    turn = PIL.Image.Transpose
    methods = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(methods[orientation]) if orientation in methods else image


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """Height and width once the orientation is applied, from the header."""
    width, height = image.size
    # versions of Pillow differ in the size they report before a TIFF is decoded
    if isinstance(image, TiffImageFile):
        width, height = image.tag_v2[256], image.tag_v2[257]
    return (width, height) if 5 <= orientation(image) <= 8 else (height, width)


@contextmanager
def opened(path: Path) -> Iterator[PIL.Image.Image]:
    """Open a file and check its header; errors inside the `with` block become `ImageError` too."""
    try:
        with (
            pillow_settings.applied(),
            path.open("rb") as file,
        ):
            tiff.silence_libtiff()
            if file.read(4) in tiff.MAGIC:
                _check_pages(file)
            file.seek(0)
            with PIL.Image.open(file, formats=_FORMATS) as image:
                _check_header(image)
                yield image
    except ImageError as error:
        raise ImageError(_line(f"{path}: {error}")) from None
    except tiff.UnsupportedTiff as error:
        remedy = "save it as PNG, or as TIFF of RGB or gray with 8 bits"
        raise ImageError(_line(f"{path}: {error}; {remedy}")) from None
    except FileNotFoundError:
        raise ImageError(_line(f"{path}: no such file; check the path")) from None
    except IsADirectoryError:
        raise ImageError(_line(f"{path}: a folder, not an image; name a file in it")) from None
    except PermissionError:
        raise ImageError(_line(f"{path}: permission denied; change its permissions")) from None
    except PIL.UnidentifiedImageError:
        raise ImageError(_line(f"{path}: {_unidentified(path)}")) from None
    except DAMAGE as error:
        remedy = "copy it again or leave it out"
        raise ImageError(_line(f"{path}: damaged or truncated ({error}); {remedy}")) from error


def _line(message: str) -> str:
    return " ".join(message.splitlines())


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "empty file (0 bytes); copy it again or leave it out"
    remedy = "convert it to 8-bit JPEG, PNG, WebP or TIFF"
    with path.open("rb") as file:
        start = file.read(16)
        for name in _FORMATS:
            factory, accept = PIL.Image.OPEN[name]
            # accept gives a text where Pillow lacks the library
            if accept is None or accept(start) is not True:
                continue
            try:
                file.seek(0)
                factory(file, "")
            except DAMAGE as error:
                return f"{name} of an unsupported kind, or damaged ({error}); {remedy}"
    return f"not an image, or an unsupported format; {remedy}"


def _check_pages(file: BinaryIO) -> None:
    """Check the first page of a TIFF, and that further ones are its smaller copies or masks."""
    file.seek(0)
    pages = list(tiff.directories(file))
    for page in pages[:1]:
        tiff.check(page)
    if not all(tiff.is_smaller_copy(page, pages[0]) for page in pages[1:]):
        raise _several(len(pages))


def _several(count: int) -> ImageError:
    return ImageError(f"holds {count} images; save the one you want as a file of its own")


def _check_header(image: PIL.Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise ImageError(
            f"{height} x {width} pixels exceed the limit of {LARGEST}; cut it into tiles"
        )
    if not _has_fixed_range(image):
        raise ImageError(
            f"pixels of mode {image.mode} have no fixed range; save it with 8 or 16 bits"
        )
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        raise ImageError(
            "CMYK JPEG without Adobe's marker, so its polarity is unknown; save it as RGB"
        )
    if image.format == "PNG" and "transparency" in image.info and raw_mode(image) == "RGB;16B":
        raise ImageError(
            "16-bit RGB with a transparent colour is not supported; save it with an alpha channel"
        )
    # further images in a camera's JPEG (format MPO) are previews, depth maps and the like
    if image.format not in ("MPO", "TIFF") and (frames := getattr(image, "n_frames", 1)) > 1:
        raise _several(frames)
