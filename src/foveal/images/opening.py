"""Which reader reads a file in pieces: by its content, or by how its name ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from foveal.images import slides, tiff, zarr_arrays
from foveal.images.arrays import open_npy
from foveal.images.byte_ranges import ByteRanges, LocalRanges
from foveal.images.copies import downloaded, kept_copy
from foveal.images.decoding import checked_pages
from foveal.images.locations import Location, is_zarr
from foveal.images.pyramid import Pyramid
from foveal.images.refusals import ImageError
from foveal.images.remote import RemoteRanges
from foveal.images.tiff_levels import tiff_pyramid

_IN_PARTS = (".tif", ".tiff", ".svs")  # of what has another ending, a server is asked for all


def open_pyramid(path: Location) -> Pyramid | None:
    """Read the header of a file that is read in pieces.

    Returns:
        None if it is of another kind; without levels if it is a TIFF that must be decoded whole.

    Raises:
        UnsupportedTiff, ImageError, OSError: it cannot be used.
    """
    found = _open_named(path)
    if found is not None:
        return found
    with open_parts(path) as (file, content):
        if file.read(4) not in tiff.MAGIC:
            return None
        try:
            return tiff_pyramid(file, content)
        except (tiff.UnsupportedTiff, ImageError):
            if slides.is_slide(path):
                return slides.open_slide(path)
            raise


def open_special(path: Location) -> Pyramid | None:
    """As `open_pyramid` of a file that is never decoded whole by Pillow; of others None."""
    found = _open_named(path)
    if found is not None:
        return found
    return slides.open_slide(path) if _is_refused_slide(path) else None


@contextmanager
def open_parts(path: Location) -> Iterator[tuple[BinaryIO, ByteRanges]]:
    """Open a file to read its header, and what reads parts of it later."""
    if isinstance(path, Path):
        with path.open("rb") as file:
            yield file, LocalRanges(lambda: path.open("rb"), file)
        return
    if path.suffix.lower() in _IN_PARTS:
        content = RemoteRanges(path)
        if kept_copy(content) is None and content.are_served():
            with content.open() as file:
                yield file, content
            return
    copy = downloaded(path)
    with copy.open() as file:
        yield file, LocalRanges(copy.open, file)


def _open_named(path: Location) -> Pyramid | None:
    """A file whose name says what reads it."""
    if is_zarr(path):
        return zarr_arrays.open_zarr(path)
    if path.suffix.lower() == ".npy":
        return open_npy(path)
    return slides.open_slide(path) if path.suffix.lower() in slides.SUFFIXES else None


def _is_refused_slide(path: Location) -> bool:
    """Whether a file is a TIFF that only OpenSlide reads."""
    with open_parts(path) as (file, _):
        if file.read(4) not in tiff.MAGIC:
            return False
        try:
            checked_pages(file)
        except (tiff.UnsupportedTiff, ImageError):
            return slides.is_slide(path)
    return False
