"""Slides small enough for tests: TIFFs that OpenSlide reads, and that foveal itself refuses."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

APERIO = "Aperio Image Library v12.0\r\n{}x{} |AppMag = 40|MPP = 0.25"


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (side // 2 for side in pixels.shape[:2])
    cells = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.asarray(cells.mean(axis=(1, 3)).round().astype(np.uint8))


def aperio(path: Path, pixels: NDArray[np.uint8], levels: int = 3, **options: Any) -> Path:
    """A slide with a thumbnail and a label, which is not marked as one: foveal cannot tell."""
    import tifffile

    text = APERIO.format(*pixels.shape[:2])
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate", **options}
    strips = {"photometric": "rgb", "rowsperstrip": 16, "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, description=text, metadata=None, **options)
        file.write(halved(halved(pixels)), description=text, **strips)
        for _ in range(1, levels):
            pixels = halved(pixels)
            file.write(pixels, description=text, metadata=None, **options)
        label = np.full((60, 20, 3), 120, np.uint8)
        file.write(label, description=f"{text}\r\nlabel 20x60", **strips)
    return path


def generic(path: Path, pixels: NDArray[np.uint8], **options: Any) -> Path:
    """A tiled TIFF of no scanner."""
    import tifffile

    options = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate", **options}
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path
