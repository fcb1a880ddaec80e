"""Schedules: functions from progress in [0, 1] to a multiplier in [0, 1].

The same functions scale the learning rate and sigma, the width of the selection's noise.
"""

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0


def linear(progress: float) -> float:
    """From 1 to 0 in a straight line: the paper's decay of sigma."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine.

    >>> cosine(0.5)
    0.5
    """
    return round((1.0 + math.cos(math.pi * progress)) / 2, 12)


def multi_step(milestones: Sequence[float], factor: float = 0.1) -> Schedule:
    """1 at first, multiplied by `factor` at each milestone.

    Args:
        milestones: progress in [0, 1].
        factor: in [0, 1].

    >>> [multi_step((0.6, 0.8), 0.5)(p) for p in (0.0, 0.5, 0.6, 0.9)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def stepped(progress: float) -> float:
        return float(factor ** sum(progress >= milestone for milestone in milestones))

    return stepped


def warm_up(schedule: Schedule, fraction: float) -> Schedule:
    """Rise linearly from 0 to 1 over the first `fraction` of training, then follow `schedule`.

    Args:
        schedule: what follows, with progress from 0 to 1 over the rest.
        fraction: in [0, 1); 0 returns `schedule` itself.

    Raises:
        ValueError: fraction lies outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must lie in [0, 1): got {fraction}")
    if fraction == 0:
        return schedule

    def warmed(progress: float) -> float:
        if progress < fraction:
            return progress / fraction
        return schedule((progress - fraction) / (1 - fraction))

    return warmed
