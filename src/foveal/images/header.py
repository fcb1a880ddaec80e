"""What the header of an image file says: format, colours, depth and size; no pixel is decoded."""

import re
from dataclasses import dataclass

from PIL.TiffImagePlugin import TiffImageFile

from foveal.images.decoding import exif_orientation, opened, raw_mode, stored_layout
from foveal.images.locations import Location
from foveal.images.opening import open_special
from foveal.images.orientation import turned_size
from foveal.images.refusals import reading

_COLOURS = {
    **dict.fromkeys(("1", "L", "LA", "La", "I"), "gray"),
    **dict.fromkeys(("P", "PA"), "palette"),
    **dict.fromkeys(("RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB"),
    "CMYK": "CMYK",
}
_ENDINGS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm"), "PPM"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
}


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Attributes:
        format: what the file is, whatever its name ends in: JPEG, PNG, TIFF, ...
        colours: gray, palette, RGB or CMYK.
        bits: per sample.
        size: height and width in pixels, upright.
        turned: whether its EXIF orientation turns or mirrors it.
        transparent: whether pixels may be transparent, which are blended with white.
        misnamed: whether its name ends like another format.
    """

    format: str
    colours: str
    bits: int
    size: tuple[int, int]
    turned: bool
    transparent: bool
    misnamed: bool

    def __str__(self) -> str:
        """Format, depth and colours: 16-bit gray TIFF."""
        return f"{self.bits}-bit {self.colours} {self.format}"


def read_header(path: Location) -> Header:
    """Read the header of a file.

    Raises:
        ImageError: it cannot be used.
    """
    with reading(path):
        pyramid = open_special(path)
    if pyramid is not None:
        size = turned_size(pyramid.levels[0].size, pyramid.orientation)
        return Header(pyramid.format, pyramid.colours, pyramid.bits, size, False, False, False)
    with opened(path) as image:
        form = "JPEG" if image.format == "MPO" else str(image.format)
        mode = "I" if image.mode.startswith("I") else image.mode
        stored = re.search(r";(\d+)", raw_mode(image))
        bits = {"1": 1, "I": 16}.get(mode, 8)
        if isinstance(image, TiffImageFile):
            bits = image.tag_v2.get(258, (1,))[0]
        elif stored and form == "PNG":
            bits = int(stored[1])
        return Header(
            form,
            _COLOURS[mode],
            bits,
            turned_size(*stored_layout(image)),
            exif_orientation(image) != 1,
            image.has_transparency_data,
            _ENDINGS.get(path.suffix.lower(), form) != form,
        )
