"""Random numbers as a function of a path such as (seed, purpose, step), never of a hidden state.

A resumed run draws what an uninterrupted one would have drawn, and no generator's state is saved.
"""

import numpy as np
from torch import Generator

ORDER, AUGMENTATION, NOISE = range(3)
"""Purposes of the random numbers of a training: order of the images, augmentation, and noise."""


def derived_seed(*path: int) -> int:
    """Mix a path into a 63-bit seed; every entry is 0 or more."""
    return int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0]) >> 1


def derived_generator(*path: int) -> Generator:
    """A generator on the CPU that is a function of the path alone."""
    return Generator().manual_seed(derived_seed(*path))
