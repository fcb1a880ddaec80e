"""What files say that a pixel shows.

Slides and OME-Zarr say it in their own way (`slides.py`, `zarr_arrays.py`); a TIFF in these:

OME-XML            PhysicalSizeX and PhysicalSizeY of the first image
Aperio             MPP = 0.25
GeoTIFF            ModelPixelScale, in metres or feet; not in degrees
any TIFF           XResolution and YResolution, per inch or centimetre
"""

import re
from dataclasses import replace

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from foveal._lengths import MICROMETRES
from foveal.images import tiff
from foveal.images.locations import Location
from foveal.images.opening import open_parts, open_special
from foveal.images.orientation import swaps_sides
from foveal.images.refusals import reading
from foveal.images.resolution import Resolution, positive

_DESCRIPTION, _X, _Y, _UNIT, _SCALE, _KEYS = 270, 282, 283, 296, 33550, 34735
_PER = {2: 25400.0, 3: 10000.0}  # inch, centimetre
_MODEL_TYPE, _LINEAR_UNIT = 1024, 3076  # keys of a GeoTIFF
_GEOGRAPHIC = 2
_LINEAR = {9001: 1e6, 9002: 304800.0, 9003: 1200e6 / 3937}  # metre, foot, US survey foot


def resolution(path: Location) -> Resolution | None:
    """Read what a pixel of a file shows, upright; None if the file does not say.

    Raises:
        ImageError: the file cannot be used.
    """
    with reading(path):
        if (special := open_special(path)) is not None:
            return special.resolution
    with reading(path), open_parts(path) as (file, _):
        page = next(tiff.directories(file), None) if file.read(4) in tiff.MAGIC else None
        if page is None:
            return None
        found = _described(page) or _of_map(page) or _printed(page)
        if found is not None and swaps_sides(page.get(274, 1)):
            return replace(found, down=found.across, across=found.down)
        return found


def _described(page: ImageFileDirectory_v2) -> Resolution | None:
    """By OME-XML or Aperio, in the description of the image."""
    text = str(page.get(_DESCRIPTION, ""))
    across, down = (_ome_size(text, axis) for axis in "XY")
    if across is not None and down is not None:
        return Resolution(down, across, "OME-XML")
    aperio = re.search(r"\bMPP *= *([\d.]+)", text) if text.startswith("Aperio") else None
    side = positive(aperio[1]) if aperio else None
    return None if side is None else Resolution(side, side, "Aperio")


def _ome_size(text: str, axis: str) -> float | None:
    """Of a text that may be no XML at all."""
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)
    if pixels is None:
        return None
    size = re.search(rf'\bPhysicalSize{axis}="([^"]*)"', pixels[0])
    unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]*)"', pixels[0])
    factor = MICROMETRES.get(_unescaped(unit[1]) if unit else "um")
    number = positive(size[1]) if size else None
    return None if number is None or factor is None else number * factor


def _unescaped(unit: str) -> str:
    return re.sub("&#(?:181|xB5|xb5|956|x3BC|x3bc);", "µ", unit)


def _of_map(page: ImageFileDirectory_v2) -> Resolution | None:
    scale, numbers = page.get(_SCALE, ()), page.get(_KEYS, ())
    keys = {numbers[at]: numbers[at + 3] for at in range(4, len(numbers) - 3, 4)}
    unit = _LINEAR.get(keys.get(_LINEAR_UNIT, 9001))
    if len(scale) < 2 or keys.get(_MODEL_TYPE) == _GEOGRAPHIC or unit is None:
        return None
    across, down = (positive(side) for side in scale[:2])
    if across is None or down is None:
        return None
    return Resolution(down * unit, across * unit, "GeoTIFF")


def _printed(page: ImageFileDirectory_v2) -> Resolution | None:
    unit = _PER.get(page.get(_UNIT, 1))
    across, down = (positive(page.get(tag)) for tag in (_X, _Y))
    if unit is None or across is None or down is None:
        return None
    return Resolution(unit / down, unit / across, "TIFF")
