"""Random billiards scenes: a function of (seed, stream, index) alone.

The same numbers on every machine: rng are PCG64 uniforms, and what comes out of `math.sin` and its
like, which may differ in the last bit, is rounded.
"""

import math

import numpy as np

from foveal.paper.data.billiards.scene import (
    COLORS,
    Camera,
    Light,
    Numeral,
    Scene,
    Sphere,
    Table,
    Vector,
)

FELTS: tuple[Vector, ...] = (
    (0.010, 0.160, 0.062),
    (0.014, 0.125, 0.028),
    (0.006, 0.120, 0.110),
    (0.010, 0.075, 0.200),
    (0.150, 0.014, 0.028),
    (0.058, 0.066, 0.078),
)
WOODS: tuple[Vector, ...] = (
    (0.200, 0.070, 0.022),
    (0.110, 0.034, 0.014),
    (0.290, 0.130, 0.048),
    (0.060, 0.030, 0.020),
)
# The number stands in a white disc whose radius is at most this many times its height.
DISC = 0.88
# By how much the left-most and the right-most ball stand out, in sides of the picture.
MARGIN = 0.015


def scene(
    seed: int,
    index: int,
    *,
    stream: int = 0,
    balls: tuple[int, int] = (4, 8),
    radius: float = 0.037,
    digit: float = 0.40,
    numbers: int = 9,
) -> Scene:
    """Scene number `index`, a function of the arguments alone.

    The left-most and the right-most ball are the same in space and in the picture, and stand out by
    `MARGIN` in both; no ball covers any part of another's number.

    Args:
        seed: nonnegative.
        index: nonnegative.
        stream: nonnegative; different streams of one seed share no scene.
        balls: fewest and most balls, both possible.
        radius: of a ball, in sides of the picture, 0.01 to 0.09.
        digit: height of the numerals in radii of the ball, 0.3 to 0.8.
        numbers: the largest number on a ball, 1 to 9.

    Raises:
        ValueError: the settings are out of range, or the balls do not fit on the table.
    """
    if not 2 <= balls[0] <= balls[1]:
        raise ValueError(f"balls must be (fewest, most) with 2 <= fewest <= most: got {balls}")
    if not (0.01 <= radius <= 0.09 and 0.3 <= digit <= 0.8):
        raise ValueError(f"radius must lie in 0.01..0.09 and digit in 0.3..0.8: {radius}, {digit}")
    if not 1 <= numbers <= 9:
        raise ValueError(f"numbers must lie in 1..9: got {numbers}")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, index])))
    camera, table, light = _camera(rng), _table(rng, radius), _light(rng)
    count = int(rng.integers(balls[0], balls[1] + 1))
    if count * (2.1 * radius) ** 2 > 0.4:
        raise ValueError(f"{count} balls of radius {radius} do not fit on the table: ask for fewer")
    for _ in range(400):
        spheres = _spheres(rng, count, camera, table, radius, digit, numbers)
        if len(spheres) == count and _ends_are_clear(spheres):
            spheres.sort(key=lambda sphere: sphere.centre)
            return Scene(camera, table, light, tuple(spheres), radius, digit)
    raise ValueError(f"{count} balls of radius {radius} do not fit on the table: ask for fewer")


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _camera(rng: np.random.Generator) -> Camera:
    gaze, yaw = _between(rng, 0.90, 1.10), _between(rng, -0.16, 0.16)
    distance = round(_between(rng, 2.5, 3.1), 6)
    target = (_between(rng, -0.02, 0.02), _between(rng, -0.03, 0.03), 0.0)
    forward, up = _direction(yaw, -gaze), _direction(yaw, math.pi / 2 - gaze)
    right = _direction(yaw + math.pi / 2, 0.0)
    place = tuple(round(t - distance * f, 6) for t, f in zip(target, forward, strict=True))
    return Camera((place[0], place[1], place[2]), right, up, forward, distance)


def _table(rng: np.random.Generator, radius: float) -> Table:
    shade = _between(rng, 0.8, 1.2)
    felt = FELTS[int(rng.integers(len(FELTS)))]
    wood = WOODS[int(rng.integers(len(WOODS)))]
    floor = _between(rng, 0.010, 0.035)
    warm = _between(rng, 0.5, 1.0)
    return Table(
        width=_between(rng, 0.84, 0.94),
        depth=_between(rng, 0.92, 1.04),
        cushion=0.036,
        rail=_between(rng, 0.065, 0.08),
        height=min(1.2 * radius, 0.045),
        pocket=1.3 * radius if radius < 0.05 else 1.0 * radius,
        felt=(felt[0] * shade, felt[1] * shade, felt[2] * shade),
        wood=wood,
        floor=(floor, floor * (0.6 + 0.3 * warm), floor * warm * 0.8),
        texture=(int(rng.integers(1024)), int(rng.integers(1024))),
    )


def _light(rng: np.random.Generator) -> Light:
    side = 1.0 if rng.random() < 0.5 else -1.0
    azimuth = side * _between(rng, 0.35, 1.1)
    lamp = _direction(azimuth, _between(rng, 0.85, 1.15))
    window = _direction(azimuth * 0.8, _between(rng, 0.50, 0.65))
    pool = (_between(rng, -0.25, 0.25), _between(rng, -0.2, 0.3))
    return Light(lamp, window, pool, _between(rng, 0.85, 1.15))


def _spheres(
    rng: np.random.Generator,
    count: int,
    camera: Camera,
    table: Table,
    radius: float,
    digit: float,
    numbers: int,
) -> list[Sphere]:
    """Up to `count` balls thrown one after the other, each where it is free of the earlier ones."""
    spheres: list[Sphere] = []
    names = tuple(COLORS)
    for _ in range(12 * count):
        color = names[int(rng.integers(len(names)))]
        sphere = _sphere(rng, color, camera, table, radius, numbers)
        if _is_in_view(sphere, table) and all(_are_apart(sphere, s, digit) for s in spheres):
            spheres.append(sphere)
        if len(spheres) == count:
            break
    return spheres


def _sphere(
    rng: np.random.Generator,
    color: str,
    camera: Camera,
    table: Table,
    radius: float,
    numbers: int,
) -> Sphere:
    x = round(_between(rng, -0.5, 0.5) * (table.width - 2.2 * radius), 6)
    # The near rail stands up, and would hide a ball that lies close behind it.
    y = round(_between(rng, 1.8 * radius - table.depth / 2, table.depth / 2 - 1.1 * radius), 6)
    row, column, scale = camera.project((x, y, radius))
    number = int(rng.integers(1, numbers + 1))
    return Sphere((x, y, radius), number, color, (row, column), radius * scale, _numeral(rng))


def _numeral(rng: np.random.Generator) -> Numeral:
    return Numeral(
        turn=_between(rng, -0.30, 0.30),
        lean=_between(rng, -0.10, 0.25),
        width=_between(rng, 0.80, 1.15),
        height=_between(rng, 0.88, 1.06),
        weight=_between(rng, 0.13, 0.22),
        black=_between(rng, 0.004, 0.05),
        place=(_between(rng, -0.10, 0.10), _between(rng, -0.10, 0.10)),
        disc=_between(rng, 0.74, DISC),
        white=_between(rng, 0.75, 1.05),
        scratches=tuple(_scratch(rng) for _ in range(int(rng.integers(1, 5)))),
    )


def _is_in_view(sphere: Sphere, table: Table) -> bool:
    x, y, _ = sphere.position
    across, along = table.width / 2 - abs(x), table.depth / 2 - abs(y)
    if across * across + along * along < (table.pocket + sphere.radius) ** 2:
        return False
    return all(sphere.radius + 0.01 < c < 0.99 - sphere.radius for c in sphere.centre)


def _are_apart(one: Sphere, other: Sphere, digit: float) -> bool:
    """Whether two balls touch neither each other nor, in the picture, each other's number."""
    gap = math.sqrt(sum((a - b) ** 2 for a, b in zip(one.position, other.position, strict=True)))
    seen = math.sqrt(sum((a - b) ** 2 for a, b in zip(one.centre, other.centre, strict=True)))
    larger, smaller = max(one.radius, other.radius), min(one.radius, other.radius)
    return gap > 2.1 * one.position[2] and seen > larger + (DISC * digit + 0.15) * smaller + 0.002


def _ends_are_clear(spheres: list[Sphere]) -> bool:
    """Whether the first and the last ball are the same by x and by column, and by a margin."""
    across = sorted(spheres, key=lambda sphere: sphere.position[0])
    seen = sorted(spheres, key=lambda sphere: sphere.centre[1])
    if across[0] is not seen[0] or across[-1] is not seen[-1]:
        return False
    steps = [
        across[1].position[0] - across[0].position[0],
        across[-1].position[0] - across[-2].position[0],
        seen[1].centre[1] - seen[0].centre[1],
        seen[-1].centre[1] - seen[-2].centre[1],
    ]
    return min(steps) >= MARGIN


def _scratch(rng: np.random.Generator) -> tuple[float, float, float, float]:
    row, column = _between(rng, -0.6, 0.6), _between(rng, -0.6, 0.6)
    down, across = _between(rng, -0.35, 0.35), _between(rng, -0.35, 0.35)
    return row, column, row + down, column + across


def _direction(azimuth: float, elevation: float) -> Vector:
    """Unit vector; azimuth in radians clockwise from y, elevation in radians above the table."""
    flat = math.cos(elevation)
    vector = flat * math.sin(azimuth), flat * math.cos(azimuth), math.sin(elevation)
    return round(vector[0], 6), round(vector[1], 6), round(vector[2], 6)
