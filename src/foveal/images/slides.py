"""Whole-slide images that OpenSlide reads: MIRAX, Hamamatsu, Leica, Ventana, DICOM, ...

Slides that are TIFFs of a kind that foveal reads, such as most of Aperio (.svs), do not come here.
What is transparent, such as the gaps between scanned areas, is white.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from foveal.images.byte_ranges import CHANGED, stamp
from foveal.images.copies import Copy, downloaded
from foveal.images.decoding import rgb_pixels
from foveal.images.extras import imported
from foveal.images.limits import check_area
from foveal.images.locations import Location, RemoteFile
from foveal.images.pyramid import Place, Pyramid
from foveal.images.refusals import ImageError
from foveal.images.resolution import Resolution, positive

SUFFIXES = frozenset((".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svslide", ".vms", ".vmu"))
"""Endings of slides that only OpenSlide reads, in lower case."""

_PIECE = (512, 512)
_OPEN = 32  # slides that a process keeps open, each with a few files
_CACHE = 2**26  # bytes that OpenSlide keeps of all of them


@dataclass(frozen=True)
class SlideLevel:
    """One level of a slide, in squares.

    Attributes:
        path: of the slide.
        state: what shows that the file is still the same.
        number: of the level; 0 is the full size.
        size: height and width.
        scale: pixels of the full size for one of the level.
        copy: of a remote slide, which is deleted when nobody holds it.
    """

    path: Path
    state: tuple[int, ...]
    number: int
    size: tuple[int, int]
    scale: float
    copy: Copy | None = None

    @property
    def piece(self) -> tuple[int, int]:
        """Height and width of a square."""
        return _PIECE

    def pieces(self, places: Sequence[Place]) -> Iterator[UInt8[Tensor, "3 _h _w"]]:
        """Read squares."""
        if stamp(os.stat(self.path)) != self.state:
            raise ImageError(CHANGED)
        with _faults():
            slide = _opened(self.path, self.state, os.getpid())
            for row, column in places:
                top, left = row * self.piece[0], column * self.piece[1]
                height = min(self.piece[0], self.size[0] - top)
                width = min(self.piece[1], self.size[1] - left)
                at = (round(left * self.scale), round(top * self.scale))
                yield rgb_pixels(slide.read_region(at, self.number, (width, height)))


def open_slide(place: Location) -> Pyramid:
    """The levels of a slide, the full size first; of a remote one, in a copy.

    Raises:
        ImageError: OpenSlide is not installed, or does not read the file.
        OSError: it is damaged.
    """
    copy = downloaded(place) if isinstance(place, RemoteFile) else None
    path = Path(place) if copy is None else copy.path
    state = stamp(os.stat(path))
    with _faults():
        slide = _opened(path, state, os.getpid())
        sizes = [(height, width) for width, height in slide.level_dimensions]
        scales, properties = slide.level_downsamples, dict(slide.properties)
    check_area(
        min(sizes, key=lambda size: size[0] * size[1]),
        "slides without smaller copies",
        "save it with a pyramid",
        whole=False,
    )
    levels = zip(sizes, scales, strict=True)
    return Pyramid(
        [SlideLevel(path, state, n, size, scale, copy) for n, (size, scale) in enumerate(levels)],
        format=f"slide ({properties.get('openslide.vendor', 'unknown')})",
        resolution=_resolution(properties),
    )


def is_slide(path: Location) -> bool:
    """Whether a TIFF is a slide by its name, or OpenSlide is there and knows its scanner."""
    if path.suffix.lower() == ".svs":
        return True
    try:
        openslide = _openslide()
    except ImageError:
        return False
    if isinstance(path, RemoteFile):
        return False
    return openslide.OpenSlide.detect_format(path) not in (None, "generic-tiff")


def _openslide() -> Any:
    return imported("openslide", "slides", "slides of this kind")


@lru_cache(maxsize=_OPEN)
def _opened(path: Path, _state: tuple[int, ...], process: int) -> Any:
    """A slide; threads may share it, processes may not."""
    slide = _openslide().OpenSlide(path)
    slide.set_cache(_cache(process))
    return slide


@lru_cache(maxsize=1)
def _cache(_process: int) -> Any:
    return _openslide().OpenSlideCache(_CACHE)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn errors of OpenSlide into ours; a slide that had one is of no more use, and forgotten."""
    openslide = _openslide()
    try:
        yield
    except openslide.OpenSlideUnsupportedFormatError:
        raise ImageError(
            "not a slide that OpenSlide reads; save it as a tiled TIFF with a pyramid"
        ) from None
    except openslide.OpenSlideError as error:
        _opened.cache_clear()
        raise OSError(str(error)) from error


def _resolution(properties: Mapping[str, str]) -> Resolution | None:
    across, down = (positive(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    return None if across is None or down is None else Resolution(down, across, "slide")
