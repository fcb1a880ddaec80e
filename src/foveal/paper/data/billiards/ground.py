"""Which point of the table each pixel sees, and what else is shared by all that paints.

The camera does not tilt its head, so all pixels of a row see the table at the same depth t along
the gaze: ground = place + t (forward + a right + b up), a and b linear in column and row.
"""

import numpy as np
from jaxtyping import Float32

from foveal.paper.data.billiards.scene import Camera

Plane = Float32[np.ndarray, "#h #w"]


def ground(camera: Camera, size: int, rows: slice, columns: slice) -> tuple[Plane, Plane]:
    """x and y of the table seen in the middle of each pixel, were there nothing else.

    Args:
        camera: looks down.
        size: height and width of the picture in pixels.
        rows: the pixels asked for.
        columns: the pixels asked for.
    """
    reach = depth(camera, size, rows)  # (h,)
    b = (0.5 - middles(rows, 0.0) / size) / camera.distance
    a = (middles(columns, 0.0) / size - 0.5) / camera.distance
    planes = []
    for axis in range(2):
        start = camera.place[axis] + reach * (camera.forward[axis] + camera.up[axis] * b)
        planes.append(start[:, None] + (reach * camera.right[axis])[:, None] * a)  # (h, w)
    return planes[0], planes[1]


def depth(camera: Camera, size: int, rows: slice) -> Float32[np.ndarray, " h"]:
    """How far along the gaze the table lies, for each row of pixels."""
    b = (0.5 - middles(rows, 0.0) / size) / camera.distance
    return camera.place[2] / (-camera.forward[2] - b * camera.up[2])


def sharpness(camera: Camera, size: int, rows: slice) -> tuple[Plane, Plane]:
    """Pixels per unit of ground along x and along y, for each row (h, 1)."""
    reach = depth(camera, size, rows)
    wide = reach / (camera.distance * size)
    deep = reach * wide / camera.place[2]
    turn, straight = abs(camera.right[1]), camera.right[0]
    x = 1.0 / (wide * straight + deep * turn)
    y = 1.0 / (deep * straight + wide * turn)
    return x[:, None], y[:, None]


def middles(pixels: slice, origin: float) -> Float32[np.ndarray, " n"]:
    """Middles of the pixels, counted from an origin."""
    return np.arange(pixels.start, pixels.stop).astype(np.float32) + np.float32(0.5 - origin)


def clipped(values: Plane) -> Plane:
    """Values brought into 0 to 1."""
    result: Plane = np.minimum(np.maximum(values, 0.0), 1.0)
    return result
