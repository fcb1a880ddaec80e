"""An image in a file: only what is asked for is read, where the format allows it."""

import threading
from pathlib import Path

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from foveal.images.decoding import decoded
from foveal.images.file_sources import TiledFile, WholeFile, bands, open_source
from foveal.images.limits import check_area
from foveal.images.orientation import stored_window, turned_size, turned_upright
from foveal.images.refusals import reading
from foveal.images.resampling import (
    crops_of_regions,
    resampled,
    resampled_bands,
    resampled_crops,
)


class FileImage:
    """An image in a file (JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000 or PPM), read when needed.

    The size comes from the header alone. Of a TIFF in tiles or strips, only those are read that a
    view or a crop needs, and a view is taken from the smallest sufficient level of a pyramid. Other
    files are decoded once and kept as long as this object; the view of a JPEG needs less.

    Threads may share an image. What is read stays behind where it is pickled. Every method raises
    `ImageError` for a file that cannot be used.
    """

    channels = 3

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source: WholeFile | TiledFile | None = None
        self._pixels: UInt8[Tensor, "3 H W"] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["FileImage"], tuple[Path]]:
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
        stored = resampled_bands(bands(level), level.size[0], stored_size)
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
                self._source = open_source(self.path)
            return self._source


def read(path: str | Path) -> UInt8[Tensor, "3 H W"]:
    """Decode an image file, upright. Strides are as decoded, channels last.

    Raises:
        ImageError: the file is missing, empty, damaged, too large, not an image, or holds several.
    """
    return decoded(Path(path))
