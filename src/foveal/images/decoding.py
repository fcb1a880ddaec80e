"""Image files decoded to upright uint8 RGB, or a one-line error that says why they cannot be.

The EXIF orientation is applied, gray and palette become three channels, 16 bits are scaled to 8
(65535 is white), CMYK is converted, and transparent pixels are blended with white. A file of
several images is refused, unless the others are smaller copies of the first.
"""

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import UInt8
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from foveal.errors import UserError

LARGEST = 2**30  # pixels; 3 GiB when decoded

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_SCALED = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 0 .. 65535 to 0 .. 255, rounded
# what Pillow raises on damaged files; Warning: programs may turn warnings into errors
_DAMAGE: tuple[type[Exception], ...] = (
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
            image.draft(None, (height, width) if _orientation(image) > 4 else (width, height))
        return rgb_pixels(image)


def rgb_pixels(image: PIL.Image.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a Pillow image, upright; strides are channels last.

    Raises:
        ValueError: its pixels have no fixed range.
    """
    if not _has_fixed_range(image):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range")
    image.load()
    upright = _rgb(image)
    # Pillow turns a TIFF itself
    if not isinstance(image, TiffImageFile):
        upright = _turned(upright, _orientation(image))
    pixels = np.empty((upright.height, upright.width, 3), np.uint8)
    # in strips, because Pillow would copy the whole image twice
    for top in range(0, upright.height, 64):
        bottom = min(top + 64, upright.height)
        pixels[top:bottom] = np.asarray(upright.crop((0, top, upright.width, bottom)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _has_fixed_range(image: PIL.Image.Image) -> bool:
    gray16 = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    return image.mode in _MODES or gray16


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode not in _MODES:  # 16-bit gray, which Pillow would clip
        values = _SCALED[np.asarray(image)]
        if _white_is_zero(image):
            values = 255 - values
        return PIL.Image.fromarray(values).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    opaque = PIL.Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def _white_is_zero(image: PIL.Image.Image) -> bool:
    return isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0


def _orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation 1..8; 5 and above swap height and width. Read without decoding."""
    try:
        # not image.getexif(), which decodes a PNG
        return int(PIL.Image.Image.getexif(image).get(274, 1))
    except _DAMAGE:
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
    return (width, height) if 5 <= _orientation(image) <= 8 else (height, width)


@contextmanager
def opened(path: Path) -> Iterator[PIL.Image.Image]:
    """Open a file and check its header; errors inside the `with` block become `ImageError` too."""
    try:
        with (
            _without_pillow_limit(),
            # Given the path, Pillow 13.0 maps rotated TIFFs of one piece into memory, wrongly.
            path.open("rb") as file,
            PIL.Image.open(file, formats=_FORMATS) as image,
        ):
            _check_header(image)
            yield image
    except ImageError as error:
        raise ImageError(_line(f"{path}: {error}")) from None
    except FileNotFoundError:
        raise ImageError(_line(f"{path}: no such file; check the path")) from None
    except IsADirectoryError:
        raise ImageError(_line(f"{path}: a folder, not an image; name a file in it")) from None
    except PermissionError:
        raise ImageError(_line(f"{path}: permission denied; change its permissions")) from None
    except PIL.UnidentifiedImageError:
        raise ImageError(_line(f"{path}: {_unidentified(path)}")) from None
    except _DAMAGE as error:
        remedy = "copy it again or leave it out"
        raise ImageError(_line(f"{path}: damaged or truncated ({error}); {remedy}")) from error


def _line(message: str) -> str:
    return " ".join(message.splitlines())


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "empty file (0 bytes); copy it again or leave it out"
    return "not an image, or an unsupported format; convert it to 8-bit JPEG, PNG, WebP or TIFF"


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
    # further images in a camera's JPEG (format MPO) are previews, depth maps and the like
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1 and not (isinstance(image, TiffImageFile) and _is_pyramid(image, frames)):
        raise ImageError(f"holds {frames} images; save the one you want as a file of its own")


def _is_pyramid(image: TiffImageFile, frames: int) -> bool:
    """Whether all further pages are smaller copies or masks of the first."""
    width, height = image.size
    smaller = []
    for frame in range(1, frames):
        image.seek(frame)
        w, h = image.size
        marked = image.tag_v2.get(254, 0) & 0b101  # reduced resolution, or transparency mask
        same_shape = abs(w * height - h * width) <= 2 * (width + height)
        smaller.append(marked or (w < width and h < height and same_shape))
    image.seek(0)
    return all(smaller)


_lock = threading.Lock()
_inside = 0
_pillow_limit: int | None = None


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's own, lower limit while any thread is inside, then restore it."""
    global _inside, _pillow_limit
    with _lock:
        if _inside == 0:
            _pillow_limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                PIL.Image.MAX_IMAGE_PIXELS = _pillow_limit
