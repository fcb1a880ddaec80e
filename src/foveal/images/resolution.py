"""How much of the world a pixel shows: micrometres down and across."""

import math
from dataclasses import dataclass

from foveal._lengths import show_length


@dataclass(frozen=True)
class Resolution:
    """What a pixel shows.

    Attributes:
        down: height of a pixel in micrometres.
        across: width of a pixel in micrometres.
        source: what says so.
    """

    down: float
    across: float
    source: str

    def __str__(self) -> str:
        """One pixel, as people write it."""
        sides = [show_length(side) for side in (self.down, self.across)]
        return f"{sides[0]} per pixel" if sides[0] == sides[1] else " x ".join(sides)


def positive(value: object) -> float | None:
    """A positive number, if it is one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, ZeroDivisionError):
        return None
    return number if number > 0 and math.isfinite(number) else None
