"""Painting balls and their shadows into a picture: canvas (3, H, W), linear light, 1 is white.

Every ball is painted within its own bounding box. Only operations that IEEE 754 rounds exactly
touch pixels, so that all machines make the same ones.
"""

import math

import numpy as np
from jaxtyping import Float32

from foveal.paper.data.billiards.digits import ink, strokes
from foveal.paper.data.billiards.ground import Plane, clipped, ground, middles
from foveal.paper.data.billiards.scene import COLORS, Camera, Scene, Sphere, Vector, dot

Canvas = Float32[np.ndarray, "3 H W"]
# Right, up and towards the eye, as seen from a ball; and a direction for each pixel in that frame.
Frame = tuple[Vector, Vector, Vector]
Planes = tuple[Plane, Plane, Plane]

IVORY = (0.86, 0.82, 0.70)
# How far a shadow goes in radii of the ball, and the little of it that is left there.
REACH = 4.0
FADED = 0.0143


def shade(canvas: Canvas, felt: Float32[np.ndarray, "H W"], scene: Scene, sphere: Sphere) -> None:
    """Darken the felt round a ball, in place: the lamp's soft shadow, and where ball meets felt.

    The lamp is a disc: at p on the felt, with m the distance of the ray from p to the lamp from the
    ball's centre, the shadow falls from one to zero as m passes r, over a width that grows with
    the way from p to the ball. Of the sky, the ball hides r³/q³ from p at distance q of its centre.

    Args:
        canvas: (3, H, W), is changed.
        felt: (H, W), how much of each pixel is felt; nothing else is darkened.
        scene: where the camera and the lamp are.
        sphere: one of its balls.
    """
    size = canvas.shape[1]
    rows, columns = _reach(sphere, size, REACH)
    x, y = ground(scene.camera, size, rows, columns)
    r = sphere.position[2]
    px, py = x - sphere.position[0], y - sphere.position[1]
    flat = px * px + py * py  # (h, w)
    near = (r * r) / (flat + r * r)
    hidden = np.maximum(near * np.sqrt(near) - FADED, 0.0)
    lamp = scene.light.lamp
    way = r * lamp[2] - (px * lamp[0] + py * lamp[1])
    missed = np.sqrt(np.maximum(flat + r * r - way * way, 0.0))
    soft = np.maximum(way, 0.0) * 0.42 + 0.25 * r
    dark = np.minimum(np.maximum(0.5 - (missed - 0.96 * r) / soft, 0.0), 1.0)
    dark = dark * dark * (3.0 - 2.0 * dark)
    left = (1.0 - 0.66 * dark) * (1.0 - 0.78 * hidden)
    factor = 1.0 - felt[rows, columns] * (1.0 - left)
    canvas[:, rows, columns] *= factor


def paint(canvas: Canvas, scene: Scene, sphere: Sphere) -> None:
    """Paint a ball, in place: enamel, number disc, numeral, and what the enamel mirrors."""
    size = canvas.shape[1]
    rows, columns = _reach(sphere, size, 1.0)
    radius = sphere.radius * size
    py = middles(rows, sphere.centre[0] * size)[:, None]  # (h, 1)
    px = middles(columns, sphere.centre[1] * size)[None, :]  # (1, w)
    away = np.sqrt(py * py + px * px)  # (h, w)
    cover = clipped(0.5 - (away - radius))
    nx, ny = px / radius, -py / radius
    normal = nx, ny, np.sqrt(np.maximum(1.0 - nx * nx - ny * ny, 0.0004))
    frame = _frame(scene.camera, sphere)
    glow, bounce = _received(scene, frame, normal)
    room, window, share = _mirrored(scene, frame, normal)
    white, black = _number(sphere, py, px, scene.digit * radius, radius)
    for channel in range(3):
        color, felt = COLORS[sphere.color][channel], scene.table.felt[channel]
        skin = color + white * (IVORY[channel] * sphere.numeral.white - color)
        skin = skin + white * black * (sphere.numeral.black - skin)
        light = skin * (glow + bounce * (3.0 * felt))
        light += share * (room + (1.0 - room) * (0.9 * felt)) + window
        part = canvas[channel, rows, columns]
        part += cover * (light - part)


def _reach(sphere: Sphere, size: int, radii: float) -> tuple[slice, slice]:
    """Rows and columns of the picture within so many radii of the ball's middle."""
    reach = sphere.radius * radii * size + 1.5
    ends = [
        slice(max(0, math.floor(c * size - reach)), min(size, math.ceil(c * size + reach)))
        for c in sphere.centre
    ]
    return ends[0], ends[1]


def _frame(camera: Camera, sphere: Sphere) -> Frame:
    """Right, up and towards the eye, as seen from a ball, in the table's coordinates."""
    ray = tuple(c - s for c, s in zip(camera.place, sphere.position, strict=True))
    length = math.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
    back = (ray[0] / length, ray[1] / length, ray[2] / length)
    level = math.sqrt(back[0] * back[0] + back[1] * back[1])
    right = (-back[1] / level, back[0] / level, 0.0)
    up = (
        back[1] * right[2] - back[2] * right[1],
        back[2] * right[0] - back[0] * right[2],
        back[0] * right[1] - back[1] * right[0],
    )
    return right, up, back


def _along(vector: Vector, frame: Frame, planes: Planes) -> Plane:
    """Inner product of a direction with directions given in a ball's frame."""
    a, b, c = (dot(axis, vector) for axis in frame)
    return planes[0] * a + planes[1] * b + planes[2] * c


def _received(scene: Scene, frame: Frame, normal: Planes) -> tuple[Plane, Plane]:
    """Light that falls on a ball from lamp and room, and from the felt below."""
    lamp = np.maximum(_along(scene.light.lamp, frame, normal) * 0.88 + 0.12, 0.0)
    above = _along((0.0, 0.0, 1.0), frame, normal) * 0.5 + 0.5  # 1 on top, 0 at the foot
    rim = 0.55 + 0.45 * normal[2]
    glow = (scene.light.strength * 0.72 * lamp + 0.30 * above * above + 0.03) * rim
    below = 1.0 - above
    # Close to the foot the ball stands in its own shadow.
    return glow, 0.9 * below * (1.0 - 0.85 * below * below)


def _mirrored(scene: Scene, frame: Frame, normal: Planes) -> tuple[Plane, Plane, Plane]:
    """What the polish shows: room (1) or felt (0), the window's light, and Fresnel's share."""
    nx, ny, nz = normal
    ray = (2.0 * nz * nx, 2.0 * nz * ny, 2.0 * nz * nz - 1.0)
    graze = 1.0 - nz
    square = graze * graze
    share = 0.04 + 0.80 * square * square * graze
    room = clipped(_along((0.0, 0.0, 1.0), frame, ray) * 6.0 + 0.5) * 0.30
    window = scene.light.window
    level = math.sqrt(window[0] * window[0] + window[1] * window[1])
    side = (window[1] / level, -window[0] / level, 0.0)
    lift = (-window[2] * side[1], window[2] * side[0], window[0] * side[1] - window[1] * side[0])
    facing = _along(window, frame, ray)
    ahead = np.maximum(facing, 0.1)
    across = _along(side, frame, ray) / ahead
    height = _along(lift, frame, ray) / ahead
    pane = _pane(across, 0.34) * _pane(height, 0.30)
    halo = np.maximum(1.0 - (across * across + height * height) * 1.6, 0.0)
    bright = 16.0 * pane + 1.2 * halo * halo * halo
    return room, share * bright * clipped(facing * 4.0 - 1.0), share


def _pane(position: Plane, half: float) -> Plane:
    """A window's two panes and the bar between them, softened by the polish."""
    away = np.abs(position)
    glass, bar = (half - away) * 9.0 + 0.5, (away - 0.035) * 14.0 + 0.5
    pane: Plane = clipped(glass) * clipped(bar)
    return pane


def _number(
    sphere: Sphere, py: Plane, px: Plane, height: float, radius: float
) -> tuple[Plane, Plane]:
    """The disc and the numeral's ink, over the whole bounding box of the ball."""
    style = sphere.numeral
    py, px = py - style.place[0] * radius, px - style.place[1] * radius
    away = np.sqrt(py * py + px * px)
    white = clipped(0.5 - (away - style.disc * height))
    sine = style.turn
    cosine = math.sqrt(1.0 - sine * sine)
    y, x = py * cosine - px * sine, py * sine + px * cosine
    x = (x + y * style.lean) / style.width
    black = np.zeros_like(y)
    reach = height * 0.85 + 1.0
    inside = (
        slice(*np.searchsorted(py[:, 0], [-reach, reach])),
        slice(*np.searchsorted(px[0], [-reach, reach])),
    )
    tall = height * style.height
    black[inside] = ink(sphere.number, y[inside], x[inside], tall, style.weight)
    lines = [[(a, b), (c, d)] for a, b, c, d in style.scratches]
    worn = strokes(lines, y[inside] / height, x[inside] / height, height, 0.07)
    black[inside] = np.maximum(black[inside], 0.4 * worn)
    return white, black
