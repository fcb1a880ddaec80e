"""MNIST as it comes: four files in the idx format, gzipped or not.

    {train,t10k}-images-idx3-ubyte[.gz]   {train,t10k}-labels-idx1-ubyte[.gz]

An idx file is two zero bytes, the type (8: bytes), the number of axes, their lengths as big-endian
32-bit numbers, and the values.
"""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from foveal.errors import UserError

SIDE = 28  # pixels


@dataclass(frozen=True)
class Digits:
    """Handwritten digits and what they are.

    Attributes:
        pixels: white on black.
        values: 0 to 9.
    """

    pixels: UInt8[np.ndarray, "n 28 28"]
    values: UInt8[np.ndarray, " n"]


def read(folder: str | os.PathLike[str], part: str) -> Digits:
    """Read the digits for training, "train", or for testing, "t10k".

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    images = _found(Path(folder), f"{part}-images-idx3-ubyte")
    labels = _found(Path(folder), f"{part}-labels-idx1-ubyte")
    pixels, values = _idx(images, 3), _idx(labels, 1)
    if pixels.shape != (len(values), SIDE, SIDE):
        raise UserError(
            f"{images}: {pixels.shape} pixels for {len(values)} labels in {labels.name}, not "
            f"({len(values)}, {SIDE}, {SIDE}): take both from one copy of MNIST"
        )
    if len(np.unique(values)) < 2 or values.max() > 9:
        raise UserError(f"{labels}: labels are not of two or more digits 0 to 9: get it again")
    return Digits(pixels, values)


def _found(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.gz", folder / name):
        if file.is_file():
            return file
    raise UserError(f"{folder / name}.gz is missing: give the folder with the four files of MNIST")


def _idx(file: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        raise UserError(f"{file}: cannot be read ({error}): get it again") from None
    start = 4 + 4 * axes
    if len(content) < start or content[:4] != bytes((0, 0, 8, axes)):
        raise UserError(f"{file}: no idx file of bytes with {axes} axes: get it again")
    shape = [int(length) for length in np.frombuffer(content, ">u4", axes, 4)]
    if len(content) - start != np.prod(shape, dtype=np.int64):
        raise UserError(f"{file}: {len(content) - start} values, not {shape}: get it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
