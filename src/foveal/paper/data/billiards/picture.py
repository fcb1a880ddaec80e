"""A billiards scene painted: (3, size, size) uint8."""

import numpy as np
from jaxtyping import UInt8

from foveal.paper.data.billiards.balls import paint, shade
from foveal.paper.data.billiards.scene import Scene
from foveal.paper.data.billiards.table import BAND, background


def picture(scene: Scene, size: int) -> UInt8[np.ndarray, "3 H W"]:
    """Paint a scene, the same pixels on every machine.

    Args:
        scene: what to paint.
        size: height and width in pixels, at least 32.

    Returns:
        (3, size, size), red, green, blue.

    Raises:
        ValueError: the size is out of range.
    """
    check_size(size)
    canvas, felt = background(scene, size)
    for sphere in scene.spheres:
        shade(canvas, felt, scene, sphere)
    for sphere in scene.spheres:
        paint(canvas, scene, sphere)
    return _developed(canvas)


def check_size(size: int) -> None:
    """Refuse pictures below 32 pixels.

    Raises:
        ValueError: names the size.
    """
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels: got {size}")


def _developed(canvas: np.ndarray) -> UInt8[np.ndarray, "3 H W"]:
    """From linear light to stored values by the square root, a gamma that is rounded exactly."""
    _, height, width = canvas.shape
    result = np.empty(canvas.shape, np.uint8)
    step = max(1, BAND // width)
    for top in range(0, height, step):
        band = np.minimum(np.maximum(canvas[:, top : top + step], 0.0), 1.0)
        result[:, top : top + step] = np.sqrt(band) * 255.0 + 0.5
    return result
