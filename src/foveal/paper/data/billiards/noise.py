"""Noise for felt and wood: made once, the same on every machine."""

import functools

import numpy as np
from jaxtyping import Float32

TILE = 1024
Field = Float32[np.ndarray, "1024 1024"]


@functools.cache
def lines() -> Float32[np.ndarray, " 1024"]:
    """Noise along a line, about -1 to 1: the year rings of wood."""
    rng = np.random.Generator(np.random.PCG64(11))
    fine = (rng.random(1024) * 2.0 - 1.0).astype(np.float32)
    broad = np.repeat((rng.random(128) * 2.0 - 1.0).astype(np.float32), 8)
    for _ in range(3):
        broad = (np.roll(broad, 3) + broad + np.roll(broad, -3)) / np.float32(3.0)
    rings: Float32[np.ndarray, 1024] = 0.55 * fine + 0.75 * broad
    return rings


@functools.cache
def fibres() -> Field:
    """A tile of noise without seams, 1 on average: fibres, and broader blotches."""
    rng = np.random.Generator(np.random.PCG64(7))
    white = (rng.random((TILE, TILE)) * 2.0 - 1.0).astype(np.float32)
    fibre = white + 0.7 * np.roll(white, 1, axis=1) + 0.45 * np.roll(white, (1, 1), axis=(0, 1))
    total = 0.5 * fibre
    for cells, weight in ((256, 0.30), (64, 0.22), (16, 0.22)):
        coarse = (rng.random((cells, cells)) * 2.0 - 1.0).astype(np.float32)
        total = total + weight * _enlarged(coarse, TILE // cells)
    nap: Field = 1.0 + 0.16 * total
    return nap


def _enlarged(tile: Float32[np.ndarray, "n n"], times: int) -> Float32[np.ndarray, "m m"]:
    """A tile enlarged without seams, values joined by straight lines."""
    part = ((np.arange(times) + 0.5) / times).astype(np.float32)
    for axis in (0, 1):
        along = np.moveaxis(tile, axis, 0)
        after = np.roll(along, -1, axis=0)
        mixed = along[:, None] * (1.0 - part)[None, :, None] + after[:, None] * part[None, :, None]
        tile = np.moveaxis(mixed.reshape(-1, mixed.shape[-1]), 0, axis)
    return np.ascontiguousarray(tile)
