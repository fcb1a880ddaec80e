"""Which reader reads a file in pieces: by its content, or by how the name of a slide ends."""

from pathlib import Path

from foveal.images import slides, tiff
from foveal.images.byte_ranges import LocalRanges
from foveal.images.decoding import checked_pages
from foveal.images.pyramid import Pyramid
from foveal.images.refusals import ImageError
from foveal.images.tiff_levels import tiff_pyramid


def open_pyramid(path: Path) -> Pyramid | None:
    """Read the header of a file that is read in pieces.

    Returns:
        None if it is of another kind; without levels if it is a TIFF that must be decoded whole.

    Raises:
        UnsupportedTiff, ImageError, OSError: it cannot be used.
    """
    if path.suffix.lower() in slides.SUFFIXES:
        return slides.open_slide(path)
    with path.open("rb") as file:
        if file.read(4) not in tiff.MAGIC:
            return None
        try:
            return tiff_pyramid(file, LocalRanges(path, file))
        except (tiff.UnsupportedTiff, ImageError):
            if slides.is_slide(path):
                return slides.open_slide(path)
            raise


def open_special(path: Path) -> Pyramid | None:
    """As `open_pyramid` of a file that is never decoded whole by Pillow; of others None."""
    if path.suffix.lower() in slides.SUFFIXES:
        return slides.open_slide(path)
    return slides.open_slide(path) if _is_refused_slide(path) else None


def _is_refused_slide(path: Path) -> bool:
    """Whether a file is a TIFF that only OpenSlide reads."""
    with path.open("rb") as file:
        if file.read(4) not in tiff.MAGIC:
            return False
        try:
            checked_pages(file)
        except (tiff.UnsupportedTiff, ImageError):
            return slides.is_slide(path)
    return False
