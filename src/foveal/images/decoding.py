"""Image files decoded whole to uint8 RGB, or a one-line error that says why they cannot be.

Gray and palette become three channels, 16 bits are scaled to 8 (65535 is white), CMYK is converted,
and transparent pixels are blended with white. A file of several images is refused, unless the
others are smaller copies of the first. docs/formats.md lists what is read and what is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import PIL.Image
import torch
from jaxtyping import UInt8
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from torch import Tensor

from foveal.images import tiff
from foveal.images.limits import check_area
from foveal.images.locations import Location
from foveal.images.orientation import swaps_sides, turned_upright
from foveal.images.refusals import DAMAGE, FORMATS, ImageError, reading, several

_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
SCALED = ((np.arange(65536) + 128) // 257).astype(np.uint8)
"""0 .. 65535 to 0 .. 255, rounded."""


class Decoded:
    """A decoded image in the colours and the orientation of its file: the least memory.

    Args:
        image: a Pillow image; its pixels are read now.

    Attributes:
        size: height and width as stored.
        orientation: EXIF orientation that is still to be applied.

    Raises:
        ValueError: its pixels have no fixed range, or are of a kind that Pillow misreads.
    """

    def __init__(self, image: PIL.Image.Image) -> None:
        if not _has_fixed_range(image):
            raise ValueError(f"pixels of mode {image.mode} have no fixed range")
        self._white_is_zero = False
        if isinstance(image, TiffImageFile):
            tiff.check(image.tag_v2)
            self._white_is_zero = image.tag_v2.get(262) == 0
        transparent = _transparent_colour(image)
        image.load()
        if transparent is not None:
            image.info["transparency"] = transparent
        self._image = image
        self.size = (image.height, image.width)
        # Pillow turns a TIFF itself
        self.orientation = 1 if isinstance(image, TiffImageFile) else exif_orientation(image)

    def region(self, top: int, left: int, bottom: int, right: int) -> UInt8[Tensor, "3 h w"]:
        """The pixels of a window inside the image; strides are channels last."""
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        # in strips, because Pillow would copy the whole region twice
        for start in range(top, bottom, 64):
            end = min(start + 64, bottom)
            strip = self._image.crop((left, start, right, end))
            pixels[start - top : end - top] = np.asarray(_rgb(strip, self._white_is_zero))
        return torch.from_numpy(pixels).permute(2, 0, 1)


def decoded(path: Location) -> UInt8[Tensor, "3 H W"]:
    """Decode a file, upright."""
    with opened(path) as image:
        return rgb_pixels(image)


def rgb_pixels(image: PIL.Image.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a Pillow image, upright; strides are channels last.

    Raises:
        ValueError: as `Decoded`.
    """
    stored = Decoded(image)
    return turned_upright(stored.region(0, 0, *stored.size), stored.orientation)


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


def _rgb(image: PIL.Image.Image, white_is_zero: bool) -> PIL.Image.Image:
    if image.mode not in _MODES:  # 16-bit gray, which Pillow would clip
        stored = np.asarray(image)
        values = SCALED[stored]
        if white_is_zero:
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


def exif_orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation 1..8; 5 and above swap height and width. Read without decoding."""
    try:
        # not image.getexif(), which decodes a PNG
        return int(PIL.Image.Image.getexif(image).get(274, 1))
    except DAMAGE:
        return 1


def stored_layout(image: PIL.Image.Image) -> tuple[tuple[int, int], int]:
    """Height and width as `Decoded` will have them, and its orientation, from the header."""
    width, height = image.size
    orientation = exif_orientation(image)
    if isinstance(image, TiffImageFile):
        # versions of Pillow differ in the size they report before a TIFF is decoded
        width, height = image.tag_v2[256], image.tag_v2[257]
        return ((width, height) if swaps_sides(orientation) else (height, width)), 1
    return (height, width), orientation


@contextmanager
def opened(path: Location) -> Iterator[PIL.Image.Image]:
    """Open a file and check its header; errors inside the `with` block become `ImageError` too."""
    with reading(path), path.open("rb") as file:
        if file.read(4) in tiff.MAGIC:
            checked_pages(file)
        file.seek(0)
        with PIL.Image.open(file, formats=FORMATS) as image:
            _check_header(image)
            yield image


def checked_pages(file: BinaryIO) -> list[ImageFileDirectory_v2]:
    """The pages of a TIFF: the first, which can be read, and its smaller copies and masks."""
    pages = list(tiff.directories(file))
    for page in pages[:1]:
        tiff.check(page)
    if not all(tiff.is_smaller_copy(page, pages[0]) for page in pages[1:]):
        raise ImageError(several(len(pages)))
    return pages


def _check_header(image: PIL.Image.Image) -> None:
    width, height = image.size
    check_area(
        (height, width),
        "files that must be decoded whole",
        "save it as a tiled TIFF with a pyramid, cut it into pieces",
        whole=True,
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
        raise ImageError(several(frames))
