"""The numerals 1 to 9 of billiard balls, drawn as strokes of one width.

A numeral is a list of polylines (y, x), y from 0 at the top to 1 at the foot, x about 0. How black
a pixel is follows from its distance to the nearest stroke. 6 and 9 are underlined, as on balls.
"""

import functools
import math
from itertools import pairwise

import numpy as np

from foveal.paper.data.billiards.ground import Plane, clipped

Polyline = list[tuple[float, float]]

STROKE = 0.19


def ink(number: int, y: Plane, x: Plane, height: float, weight: float = STROKE) -> Plane:
    """How much of each pixel the numeral covers.

    Args:
        number: 1 to 9.
        y: downwards from the numeral's middle, in pixels.
        x: to the right of it, in pixels.
        height: of the numeral, in pixels.

    Returns:
        0 to 1.
    """
    v, u = y / np.float32(height) + np.float32(0.5), x / np.float32(height)
    return strokes(_polylines()[number], v, u, height, weight)


def strokes(lines: list[Polyline], y: Plane, x: Plane, height: float, weight: float) -> Plane:
    """How much of each pixel some lines cover; all in heights, of which one is `height` pixels."""
    nearest = np.full_like(y, 9.0)
    for line in lines:
        for (a, b), (c, d) in pairwise(line):
            p, q, down, across = y - a, x - b, c - a, d - b
            share = (p * down + q * across) * (1.0 / (down * down + across * across))
            share = clipped(share)
            p -= share * down
            q -= share * across
            nearest = np.minimum(nearest, p * p + q * q)
    outside = (np.sqrt(nearest) - np.float32(weight / 2)) * np.float32(height)
    return clipped(0.5 - outside)


def _arc(
    centre: tuple[float, float], radii: tuple[float, float], start: float, end: float
) -> Polyline:
    """Part of an ellipse; degrees clockwise from the right, as on a page."""
    steps = max(2, round(abs(end - start) / 24))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    (y, x), (tall, wide) = centre, radii
    return [(round(y + tall * math.sin(a), 6), round(x + wide * math.cos(a), 6)) for a in angles]


@functools.cache
def _polylines() -> dict[int, list[Polyline]]:
    top, foot = STROKE / 2, 1 - STROKE / 2
    six = [
        _arc((0.615, 0.0), (0.285, 0.22), 0, 360),
        [*_arc((0.53, 0.06), (0.435, 0.28), 190, 272), (top + 0.02, 0.16)],
    ]
    # The underline hangs below the foot: the other strokes are shortened to make room for it.
    raised = [[(y * 0.86, x) for y, x in line] for line in six]
    nine = [[(0.86 - y, -x) for y, x in line] for line in raised]
    underline = [(0.985, -0.21), (0.985, 0.21)]
    return {
        1: [[(0.27, -0.17), (top, 0.05), (foot, 0.05)]],
        2: [[*_arc((0.33, 0.0), (0.235, 0.22), 190, 390), (foot, -0.23), (foot, 0.25)]],
        3: [
            _arc((0.30, -0.01), (0.205, 0.20), 200, 450),
            _arc((0.70, -0.01), (0.205, 0.23), 270, 520),
        ],
        4: [[(foot, 0.11), (top, 0.11), (0.68, -0.27), (0.68, 0.29)]],
        5: [
            [(top, 0.22), (top, -0.16), (0.46, -0.20)],
            _arc((0.645, -0.01), (0.26, 0.23), 222, 510),
        ],
        6: [*raised, underline],
        7: [[(top, -0.24), (top, 0.24), (foot, -0.08)]],
        8: [
            _arc((0.295, 0.0), (0.20, 0.19), 0, 360),
            _arc((0.70, 0.0), (0.205, 0.225), 0, 360),
        ],
        9: [*nine, underline],
    }
