"""What lies on a billiard table and how it is looked at: a scene.

Lengths are in sides of the picture, measured at the point the camera looks at: x to the right along
the table, y away from the camera, z up. A scene knows no pixels, so it can be painted at any size.
"""

import math
from dataclasses import dataclass

Vector = tuple[float, float, float]

COLORS: dict[str, Vector] = {
    "green": (0.012, 0.185, 0.045),
    "blue": (0.012, 0.055, 0.40),
    "purple": (0.13, 0.02, 0.27),
    "yellow": (0.82, 0.52, 0.015),
    "red": (0.56, 0.014, 0.016),
    "orange": (0.82, 0.19, 0.012),
}


@dataclass(frozen=True)
class Ball:
    """What is known of one ball: the entry of an archive's JSON file.

    Attributes:
        position: x, y, z of the centre; x grows to the right of the table.
        number: 1 to 9.
        color: a key of `COLORS`; archives of other makers may use more.
        box: top, left, bottom, right in pixels, end excluded, or None where nobody noted it.
    """

    position: Vector
    number: int
    color: str
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Camera:
    """A camera that looks down on the table without tilting its head.

    Attributes:
        place: where it stands.
        right: unit vector of the picture's rows, horizontal.
        up: unit vector of the picture's columns, upwards.
        forward: unit vector of the gaze.
        distance: to the point in the picture's middle; the focal length, too, in sides.
    """

    place: Vector
    right: Vector
    up: Vector
    forward: Vector
    distance: float

    def project(self, point: Vector) -> tuple[float, float, float]:
        """Row and column of a point in sides of the picture, and magnification at its depth."""
        ray = (point[0] - self.place[0], point[1] - self.place[1], point[2] - self.place[2])
        scale = self.distance / dot(ray, self.forward)
        return 0.5 - dot(ray, self.up) * scale, 0.5 + dot(ray, self.right) * scale, scale


@dataclass(frozen=True)
class Table:
    """The playing field, centred on the origin, and what surrounds it; all lengths in sides."""

    width: float
    depth: float
    cushion: float
    rail: float
    height: float
    pocket: float
    felt: Vector
    wood: Vector
    floor: Vector
    texture: tuple[int, int]


@dataclass(frozen=True)
class Light:
    """Unit vectors towards the lamp that throws shadows and the window that balls mirror.

    Attributes:
        lamp: direction of the light.
        window: direction of the window's middle.
        pool: x and y of the brightest spot on the felt.
        strength: of the lamp, about 1.
    """

    lamp: Vector
    window: Vector
    pool: tuple[float, float]
    strength: float


@dataclass(frozen=True)
class Numeral:
    """How a numeral is printed: no two balls come from the same box.

    Attributes:
        turn: sine of its slant.
        lean: shear, as of italics.
        width: relative to the height, about 1.
        height: relative to the scene's, about 1.
        weight: width of the strokes, in heights.
        black: its brightness.
        place: rows and columns that it stands off the ball's middle, in radii of the ball.
        disc: radius of the white disc, in heights of the scene's numerals.
        white: brightness of the disc, about 1.
        scratches: row, column, row, column of the ends of each, in heights.
    """

    turn: float
    lean: float
    width: float
    height: float
    weight: float
    black: float
    place: tuple[float, float]
    disc: float
    white: float
    scratches: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Sphere:
    """A ball in a scene: its record, and where it is seen.

    Attributes:
        position: x, y, z of the centre.
        number: 1 to 9.
        color: key of `COLORS`.
        centre: row and column of the disc it covers, in sides.
        radius: of that disc, in sides.
        numeral: how its number is printed.
    """

    position: Vector
    number: int
    color: str
    centre: tuple[float, float]
    radius: float
    numeral: Numeral

    def record(self, size: int) -> Ball:
        """What is known of the ball in a picture of size x size pixels."""
        (row, column), radius = self.centre, self.radius
        top, left = math.floor((row - radius) * size), math.floor((column - radius) * size)
        bottom, right = math.ceil((row + radius) * size), math.ceil((column + radius) * size)
        return Ball(self.position, self.number, self.color, (top, left, bottom, right))


@dataclass(frozen=True)
class Scene:
    """All that a picture shows.

    Attributes:
        spheres: the balls, far ones first.
        digit: height of the numerals, in radii of the ball.
    """

    camera: Camera
    table: Table
    light: Light
    spheres: tuple[Sphere, ...]
    radius: float
    digit: float

    def records(self, size: int) -> list[Ball]:
        """What is known of each ball in a picture of size x size pixels, far ones first."""
        return [sphere.record(size) for sphere in self.spheres]


def dot(a: Vector, b: Vector) -> float:
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
