"""An image in a file: only what is asked for is read, where the format allows it."""

import math
import threading

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from foveal.images.decoding import decoded
from foveal.images.file_sources import (
    LARGE,
    TiledFile,
    TiledLevel,
    WholeFile,
    bands,
    open_source,
)
from foveal.images.limits import check_area
from foveal.images.locations import Location, location
from foveal.images.nodata import Colour
from foveal.images.opening import open_special
from foveal.images.orientation import Window, stored_window, turned_size, turned_upright
from foveal.images.refusals import reading
from foveal.images.resampling import (
    crops_of_regions,
    resampled,
    resampled_bands,
    resampled_box,
    resampled_crops,
)
from foveal.images.tile_cache import PER_IMAGE, TileCache


class FileImage:
    """An image in a file (JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000 or PPM), read when needed.

    The size comes from the header alone. Of a TIFF in tiles or strips, only those are read that a
    view or a crop needs, and a view is taken from the smallest sufficient level of a pyramid. Other
    files are decoded once and kept as long as this object; the view of a JPEG needs less.

    Threads may share an image. What is read stays behind where it is pickled. Every method raises
    `ImageError` for a file that cannot be used.

    Args:
        path: of the file, or its URL.
        cache: keeps decoded tiles, of other images too; None: up to 64 MiB of this one.
    """

    channels = 3

    def __init__(self, path: str | Location, cache: TileCache | None = None) -> None:
        self.path = location(path)
        self.cache = TileCache(PER_IMAGE) if cache is None else cache
        self._source: WholeFile | TiledFile | None = None
        self._pixels: UInt8[Tensor, "3 H W"] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["FileImage"], tuple[Location]]:
        return FileImage, (self.path,)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, upright."""
        if self._pixels is not None:
            return (self._pixels.shape[1], self._pixels.shape[2])
        source = self._opened()
        return turned_size(source.size, source.orientation)

    @property
    def in_parts(self) -> bool:
        """Whether crops are read without decoding the whole file."""
        return self._opened().in_parts

    @property
    def is_large(self) -> bool:
        """Whether it has so many pixels that decoding all of them is to be avoided."""
        return self.size[0] * self.size[1] > LARGE

    def nodata(self) -> Colour | None:
        """The colour of pixels without data, which a GeoTIFF may state."""
        return self._opened().nodata

    def decode(self) -> UInt8[Tensor, "3 H W"]:
        """All pixels; the first call reads the file, and they are kept."""
        if self._pixels is None:
            self._pixels = read(self.path)
            self._source = None  # with what it kept
        return self._pixels

    def view(self, size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
        """Resample the whole image, antialiased, to exactly `size`.

        As long as it is not decoded, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, and of a
        pyramid a smaller copy is read: the smallest at least as large as the view. This saves time
        and memory; the view differs slightly from that of the decoded image.
        """
        if self._pixels is not None:
            return resampled(self._pixels, size)
        source = self._opened()
        stored_size = turned_size(size, source.orientation)
        level = source.level(stored_size)
        with reading(self.path):
            check_area(
                level.size,
                f"a view of {size[0]} x {size[1]}",
                "choose a smaller view, add more levels to the pyramid of the file",
                whole=False,
            )
        if isinstance(level, TiledLevel):
            stored = level.small(stored_size) / 255
        else:
            stored = resampled_bands(bands(level), level.size[0], stored_size)
        return turned_upright(stored, source.orientation)

    def glance(self, window: Window, size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
        """A window, zero outside the image, resampled to `size` from as few pixels as suffice.

        As `crops`, but where a pyramid has a smaller copy that shows the window in at least
        `size`, it is taken from that; and a large image without one is read once, to make it.
        """
        if self._pixels is not None:
            return resampled_crops(self._pixels, torch.tensor([window]), size)[0]
        source = self._opened()
        top, left, bottom, right = stored_window(window, self.size, source.orientation)
        height, width = turned_size(size, source.orientation)
        level = source.glanced_level(
            (
                math.ceil(height * source.size[0] / (bottom - top)),
                math.ceil(width * source.size[1] / (right - left)),
            )
        )
        down, across = (level.size[axis] / source.size[axis] for axis in (0, 1))
        box = (top * down, left * across, bottom * down, right * across)
        stored = resampled_box(level.region, (3, *level.size), box, (height, width))
        return turned_upright(stored, source.orientation)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M 3 h w"]:
        """Cut out windows, zero outside the image, as `TensorImage.crops` does."""
        if self._pixels is not None:
            return resampled_crops(self._pixels, windows, size)
        source, upright = self._opened(), self.size
        level = source.level(source.size)

        def region(top: int, left: int, bottom: int, right: int) -> UInt8[Tensor, "3 h w"]:
            window = stored_window((top, left, bottom, right), upright, source.orientation)
            return turned_upright(level.region(*window), source.orientation)

        return crops_of_regions(region, (3, *upright), windows, size)

    def _opened(self) -> WholeFile | TiledFile:
        with self._lock:
            if self._source is None:
                self._source = open_source(self.path, self.cache)
            return self._source


def read(path: str | Location) -> UInt8[Tensor, "3 H W"]:
    """Decode an image file, upright. Strides are as decoded, channels last.

    Raises:
        ImageError: the file is missing, empty, damaged, too large, not an image, or holds several.
    """
    path = location(path)
    with reading(path):
        pyramid = open_special(path)
        if pyramid is not None:
            check_area(pyramid.levels[0].size, "an image in memory", "read parts", whole=True)
    if pyramid is None:
        return decoded(path)
    level = TiledFile(pyramid, path, TileCache(0)).level(pyramid.levels[0].size)
    return turned_upright(level.region(0, 0, *level.size), pyramid.orientation)
