"""Painting the table without balls: floor, wooden rails, cushions, felt, pockets.

The ground the camera sees at each pixel is known in closed form, and what a rectangle at height h
hides of it is a rectangle again, for a camera c that stands H high: c + (p - c) H / (H - h). The
table is thus a nest of rectangles on the ground. It is painted in bands of rows that fit the cache.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from foveal.paper.data.billiards.ground import Plane, clipped, ground, sharpness
from foveal.paper.data.billiards.noise import TILE, fibres, lines
from foveal.paper.data.billiards.scene import Camera, Scene, Table

Canvas = Float32[np.ndarray, "3 H W"]
Field = Float32[np.ndarray, "H W"]
Part = tuple[slice, slice]

BAND = 80_000  # pixels
POCKET_RIM = 1.28


class Rectangle(NamedTuple):
    """A level rectangle, moved to the ground it hides: middles and halves along x and y."""

    x: float
    y: float
    half_x: float
    half_y: float


def background(scene: Scene, size: int) -> tuple[Canvas, Field]:
    """The empty table.

    Returns:
        The picture (3, H, W) in linear light, and (H, W): how much of each pixel is felt.
    """
    canvas = np.empty((3, size, size), np.float32)
    felt = np.empty((size, size), np.float32)
    step = max(1, BAND // size)
    for top in range(0, size, step):
        rows = slice(top, min(size, top + step))
        start, end = _felt_alone(scene, size, rows)
        for columns in (slice(0, start), slice(end, size)):
            _all(scene, size, (rows, columns), canvas, felt)
        _middle(scene, size, (rows, slice(start, end)), canvas, felt)
    for x in (-1.0, 1.0):
        for y in (-1.0, 1.0):
            _pocket(scene, size, (x, y), canvas, felt)
    return canvas, felt


def _felt_alone(scene: Scene, size: int, rows: slice) -> tuple[int, int]:
    """First and end of the columns in which a band of rows shows felt and nothing else."""
    alone = np.ones(size, bool)
    for row in (slice(rows.start, rows.start + 1), slice(rows.stop - 1, rows.stop)):
        # The field is convex: what is inside it in the first and the last row is so between them.
        x, y = ground(scene.camera, size, row, slice(0, size))
        for height in (0.0, scene.table.height):
            field = _raised(scene.table, scene.camera, -2.0 / size, height)
            alone &= _inside(field, x, y, sharpness(scene.camera, size, row))[0] == 1.0
    columns = np.flatnonzero(alone)
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (size, size)


def _middle(scene: Scene, size: int, part: Part, canvas: Canvas, felt: Field) -> None:
    """Paint what is felt alone."""
    x, y = ground(scene.camera, size, *part)
    light = _nap(scene, part) * _cloth(scene.table, x, y) * _pool(scene, x, y)
    felt[part] = 1.0
    for c in range(3):
        np.multiply(light, scene.table.felt[c], out=canvas[c][part])


def _all(scene: Scene, size: int, part: Part, canvas: Canvas, felt: Field) -> None:
    """Paint what may be anything: floor, the table's side, wood, cushions, felt."""
    table, camera = scene.table, scene.camera
    x, y = ground(camera, size, *part)
    scale = sharpness(camera, size, part[0])
    margin, high = table.cushion + table.rail, table.height * 1.06
    nose = _raised(table, camera, 0.0, table.height)
    back = _raised(table, camera, table.cushion, high)
    in_foot, in_nose, in_back, in_outer, in_skirt = (
        _inside(rectangle, x, y, scale)
        for rectangle in (
            _raised(table, camera, 0.0, 0.0),
            nose,
            back,
            _raised(table, camera, margin, high),
            _raised(table, camera, margin, -0.10),
        )
    )
    in_foot = felt[part] = in_foot * in_nose
    light, nap = _pool(scene, x, y), _nap(scene, part)
    cloth = in_foot * _cloth(table, x, y) * nap + (in_nose - in_foot) * 0.28
    cloth = cloth + (in_back - in_back * in_nose) * _cushion(scene, x, y, nose) * nap
    rail = in_outer - in_outer * in_back
    wood, shine = _wood(scene, x, y, back)
    wood = rail * wood * (0.25 + 0.75 * light) + (in_skirt - in_skirt * in_outer) * 0.22
    floor = (1.0 - np.maximum(in_skirt, in_outer)) * (light * 0.8 + 0.2) * nap
    for c in range(3):
        layer = cloth * light * table.felt[c] + wood * table.wood[c]
        canvas[c][part] = layer + rail * shine * light + floor * table.floor[c]


def _raised(table: Table, camera: Camera, margin: float, height: float) -> Rectangle:
    """The playing field widened by a margin, lifted to a height, as ground that it hides."""
    lift = camera.place[2] / (camera.place[2] - height)
    x, y = camera.place[0] * (1.0 - lift), camera.place[1] * (1.0 - lift)
    half_x, half_y = table.width / 2 + margin, table.depth / 2 + margin
    return Rectangle(x, y, half_x * lift, half_y * lift)


def _inside(rectangle: Rectangle, x: Plane, y: Plane, scale: tuple[Plane, Plane]) -> Plane:
    """How much of each pixel a rectangle covers."""
    across = (np.abs(x - rectangle.x) - rectangle.half_x) * scale[0]
    along = (np.abs(y - rectangle.y) - rectangle.half_y) * scale[1]
    return clipped(0.5 - np.maximum(across, along))


def _pool(scene: Scene, x: Plane, y: Plane) -> Plane:
    """The lamp's pool of light: falls off with the square of the distance."""
    px, py = x - scene.light.pool[0], y - scene.light.pool[1]
    return (1.25 * scene.light.strength) / (1.0 + 1.5 * (px * px + py * py))


def _cloth(table: Table, x: Plane, y: Plane) -> Plane:
    """Light that the cushions leave to the felt: less within a ball's width of them."""
    gap = np.minimum(table.width / 2 - np.abs(x), table.depth / 2 - np.abs(y))
    near = np.maximum(1.0 - np.maximum(gap, 0.0) * 14.0, 0.0)
    left: Plane = 1.0 - 0.45 * near * near
    return left


def _cushion(scene: Scene, x: Plane, y: Plane, nose: Rectangle) -> Plane:
    """Light on the sloping cushions: bright along the nose, and by how they face the lamp."""
    px, py = x - nose.x, y - nose.y
    across, along = np.abs(px) - nose.half_x, np.abs(py) - nose.half_y
    out = np.maximum(across, along) / scene.table.cushion
    edge = np.maximum(1.0 - np.abs(out - 0.12) * 5.0, 0.0)
    sides = np.where(px > 0.0, -scene.light.lamp[0], scene.light.lamp[0])
    ends = np.where(py > 0.0, -scene.light.lamp[1], scene.light.lamp[1])
    facing = np.where(across > along, sides, ends).astype(np.float32)
    return 0.85 + 0.40 * facing + 0.55 * edge * edge - 0.25 * clipped(out)


def _wood(scene: Scene, x: Plane, y: Plane, back: Rectangle) -> tuple[Plane, Plane]:
    """The rail's brightness and its polish's shine: grain along it, a rounded profile across."""
    px, py = x - back.x, y - back.y
    across, along = np.abs(px) - back.half_x, np.abs(py) - back.half_y
    out = np.maximum(across, along)
    lengthwise = np.where(across > along, py, px)
    line = lines()
    place = (out + 0.0025 * _smooth(lengthwise * 3.0)) * 900.0 + 2048.0
    whole = np.floor(place)
    index, part = whole.astype(np.int32), place - whole
    streak = line[index & 1023] * (1.0 - part) + line[(index + 1) & 1023] * part
    p = clipped(out / scene.table.rail)
    bulge = 4.0 * p * (1.0 - p)
    tone = (0.55 + 0.75 * bulge) * (1.0 + 0.34 * streak)
    glint = np.maximum(1.0 - np.abs(p - 0.36) * 4.5, 0.0)
    return tone, 0.16 * glint * glint * (0.85 + 0.15 * streak)


def _smooth(values: Plane) -> Plane:
    """A gentle wave of period 1 and height about 1, made of parabolas."""
    part = values - np.floor(values) - 0.5
    wave: Plane = 16.0 * part * (np.abs(part) - 0.5)
    return wave


def _nap(scene: Scene, part: Part) -> Plane:
    """The felt's fibres, about 1: a tile of noise, begun at a place of the scene's own."""
    down, right = scene.table.texture
    rows, columns = (np.arange(p.start, p.stop) for p in part)
    band = fibres()[(rows + down) % TILE]
    return np.take(band, (columns + right) % TILE, axis=1)


def _pocket(
    scene: Scene, size: int, corner: tuple[float, float], canvas: Canvas, felt: Field
) -> None:
    """One corner pocket: a dark hole in a leather rim."""
    table, camera = scene.table, scene.camera
    push = table.pocket * 0.30
    place = (
        corner[0] * (table.width / 2 + push),
        corner[1] * (table.depth / 2 + push),
        table.height * 1.06,
    )
    row, column, scale = camera.project(place)
    reach = table.pocket * POCKET_RIM * scale * 1.1 + 2.0 / size
    rows, columns = (
        slice(max(0, int((c - reach) * size)), min(size, int((c + reach) * size) + 1))
        for c in (row, column)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    x, y = ground(camera, size, rows, columns)
    lift = camera.place[2] / (camera.place[2] - place[2])
    px = x - (camera.place[0] + (place[0] - camera.place[0]) * lift)
    py = y - (camera.place[1] + (place[1] - camera.place[1]) * lift)
    away = np.sqrt(px * px + py * py) / (table.pocket * lift)  # 1 on the rim
    soft = table.pocket * lift * sharpness(camera, size, rows)[1]
    hole = clipped(0.5 - (away - 1.0) * soft)
    rim = clipped(0.5 - (away - POCKET_RIM) * soft)
    ring = 1.0 - np.abs(away - 1.13) * 6.5
    leather = 0.012 + 0.05 * np.maximum(ring, 0.0) * (1.0 + 0.8 * clipped(py * 12.0))
    deep = 0.004 * clipped(away)
    for c, tint in enumerate((1.0, 0.72, 0.52)):
        part = canvas[c, rows, columns]
        part += rim * (leather * tint - part)
        part += hole * (deep - part)
    felt[rows, columns] *= 1.0 - rim
