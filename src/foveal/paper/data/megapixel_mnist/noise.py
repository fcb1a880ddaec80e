"""Scribble that may be taken for digits: two straight strokes from edge to edge of a square."""

import math

import numpy as np
from jaxtyping import Bool, UInt8

from foveal.paper.data.megapixel_mnist.digits import SIDE

PATTERNS = 50


def patterns(rng: np.random.Generator) -> UInt8[np.ndarray, "50 28 28"]:
    """Fifty squares of scribble, the same on every machine.

    Strokes start in a corner at 0 to 72 degrees and are one pixel wide; a third of the second ones
    is mirrored left to right, a third upside down. Pixels are 204 to 255.

    References:
        Katharopoulos & Fleuret, ICML 2019 (its released code, `make_mnist.py`, which mirrors left
        to right only).
    """
    first = np.stack([_stroke(turn) for turn in rng.random(PATTERNS).tolist()])
    second = first[rng.permutation(PATTERNS)]
    for axis in (1, 2):
        mirrored = rng.random(PATTERNS) < 0.33
        second[mirrored] = np.flip(second[mirrored], axis)
    strength = rng.integers(204, 256, first.shape, dtype=np.uint8)
    return np.where(first | second, strength, np.uint8(0))


def _stroke(turn: float) -> Bool[np.ndarray, "28 28"]:
    # The last bits of a tangent differ from machine to machine.
    slope = round(math.tan(turn * math.pi / 2.5), 9)
    end = SIDE - 0.51  # rounds to the last pixel
    along = np.arange(2 * SIDE) * min(end, end / max(slope, 1e-9)) / (2 * SIDE - 1)
    stroke = np.zeros((SIDE, SIDE), dtype=bool)
    stroke[np.rint(along).astype(int), np.rint(slope * along).astype(int)] = True
    return stroke
