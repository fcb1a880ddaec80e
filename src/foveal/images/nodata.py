"""Pixels without data: the colour that a file states for them (GeoTIFF: the tag GDAL_NODATA)."""

from typing import Protocol, runtime_checkable

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from foveal.images.tiff_pieces import shown

Colour = tuple[float, ...]
"""Of each channel, in [0, 1]."""

_GDAL_NODATA = 42113


@runtime_checkable
class StatesNodata(Protocol):
    """An image that knows which colour means that there is no data."""

    def nodata(self) -> Colour | None:
        """The colour of pixels without data; None if none is stated."""


def nodata_of(image: object) -> Colour | None:
    """The colour of pixels without data in an image; None if it states none."""
    return image.nodata() if isinstance(image, StatesNodata) else None


def stated_nodata(page: ImageFileDirectory_v2) -> Colour | None:
    """The colour in which pixels without data are read; None if the page states none.

    A number that no sample can have is stated by tools for pictures without such pixels.
    """
    try:
        number = float(page.get(_GDAL_NODATA, "nan"))
        found = shown(page, int(number)) if number.is_integer() else None
    except (ValueError, TypeError, OverflowError):
        return None
    return None if found is None else tuple((found / 255).tolist())
