"""Megapixel MNIST: five handwritten digits on 1500 x 1500 black pixels full of scribble.

Three of the five are equal: which? (Katharopoulos & Fleuret, ICML 2019.) Or the largest, or the
uppermost, or which digits there are at all (Bergner et al., ICLR 2023).

A picture is kept as what is pasted and where, and made when it is asked for. It is a function of
(seed, split, index), the settings and the digits alone.
"""

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from foveal.data import Example, Splits
from foveal.data.labels import Labels, label_name, text
from foveal.images import TensorImage
from foveal.paper.data.megapixel_mnist.digits import SIDE, Digits, read
from foveal.paper.data.megapixel_mnist.noise import PATTERNS, patterns
from foveal.paper.data.megapixel_mnist.questions import CLASSES, TASKS, Digit, Label, majority

STREAMS = ("train", "val", "test")
_TRIES = 1000  # to find a free place for a digit


class MegapixelMNIST:
    """Pictures with digits, a data set.

    Departs from the published code in three things: digits are pasted last, so that scribble never
    covers one (so do Bergner et al.); scribble may lie anywhere; and the random numbers are not
    NumPy's old ones, so the pictures differ from those of others.

    Attributes:
        classes: names of the classes.
        labels: class number of each picture, or which digits there are in it.

    Args:
        count: number of pictures.
        pool: digits to choose from.
        seed: nonnegative.
        split: train, val or test; no picture is in two of them.
        size: height and width in pixels.
        digits: how many there are in a picture.
        equal: how many of them are the same; more than half.
        noise: how many squares of scribble there are in a picture.
        label: class number from the digits of a picture, or which there are.

    Raises:
        ValueError: a setting lies outside its range, or the digits find no place.
    """

    def __init__(
        self,
        count: int,
        pool: Digits,
        *,
        seed: int,
        split: str = "train",
        size: int = 1500,
        digits: int = 5,
        equal: int = 3,
        noise: int = 50,
        label: Label = majority,
    ) -> None:
        if min(count, digits, noise + 1) < 1:
            raise ValueError(
                f"count and digits must be 1 or more and noise 0 or more: got count={count}, "
                f"digits={digits}, noise={noise}"
            )
        if not digits < 2 * equal <= 2 * digits:
            raise ValueError(f"equal must be more than half of digits={digits}: got {equal}")
        if split not in STREAMS:
            raise ValueError(f"split must be one of {', '.join(STREAMS)}: got {split!r}")
        self.classes = CLASSES
        self.pool, self.size, self.split = pool, size, split
        stream = STREAMS.index(split)
        self.patterns = patterns(_rng(seed, stream, 0, 1))
        kinds = _Kinds(pool.values)
        chosen, places, scribble = [], [], []
        for index in range(count):
            rng = _rng(seed, stream, index)
            chosen.append(kinds.draw(rng, digits, equal))
            places.append(_places(rng, digits, size))
            pattern = rng.integers(PATTERNS, size=(noise, 1))
            scribble.append(np.hstack((pattern, rng.integers(size - SIDE + 1, size=(noise, 2)))))
        self.chosen, self.places, self.scribble = map(np.stack, (chosen, places, scribble))
        self.labels: Labels = torch.stack(
            [torch.as_tensor(label(self.digits(index))) for index in range(count)]
        )

    def digits(self, index: int) -> list[Digit]:
        """The digits of a picture."""
        values = self.pool.values[self.chosen[index]].tolist()
        return [
            Digit(value, (top, left, top + SIDE, left + SIDE))
            for value, (top, left) in zip(values, self.places[index].tolist(), strict=True)
        ]

    def picture(self, index: int) -> UInt8[Tensor, "1 H W"]:
        """Make a picture: scribble first, then the digits."""
        canvas = np.zeros((1, self.size, self.size), dtype=np.uint8)
        for pattern, top, left in self.scribble[index].tolist():
            canvas[0, top : top + SIDE, left : left + SIDE] = self.patterns[pattern]
        for number, (top, left) in zip(self.chosen[index], self.places[index], strict=True):
            canvas[0, top : top + SIDE, left : left + SIDE] = self.pool.pixels[number]
        return torch.from_numpy(canvas)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.chosen)

    def __getitem__(self, index: int) -> Example:
        """A picture, with the boxes of its digits."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} pictures")
        index %= len(self)
        boxes = torch.tensor([digit.box for digit in self.digits(index)])
        label = self.labels[index] if self.labels.ndim == 2 else int(self.labels[index])
        name = f"{self.split}/{text(label_name(label, self.classes))}/{index:05d}.png"
        return Example(TensorImage(self.picture(index)), label, name, boxes)

    def __repr__(self) -> str:
        """Number and size of the pictures."""
        return f"MegapixelMNIST({len(self)} pictures of {self.size} x {self.size})"


def splits(
    folder: str | os.PathLike[str],
    train: int,
    validation: int,
    test: int,
    *,
    seed: int,
    task: str = "majority",
    size: int = 1500,
    digits: int = 5,
    equal: int = 3,
    noise: int = 50,
) -> Splits:
    """Training, validation and test pictures; no digit is in two of the parts.

    The published code chooses and reports by the same pictures. Here the last sixth of MNIST's
    training digits serves for validation alone.

    Args:
        folder: holds the four files of MNIST, see `foveal.paper.data.megapixel_mnist.digits`.
        train: number of training pictures.
        validation: number of validation pictures.
        test: number of test pictures, of MNIST's test digits.
        seed: see `MegapixelMNIST`.
        task: a key of `TASKS`.
        size: see `MegapixelMNIST`.
        digits: see `MegapixelMNIST`.
        equal: see `MegapixelMNIST`.
        noise: see `MegapixelMNIST`.

    Raises:
        UserError: a file is missing or is not what it should be.
        ValueError: a setting lies outside its range.
    """
    known = read(folder, "train")
    kept = len(known.values) - len(known.values) // 6
    pools = (
        Digits(known.pixels[:kept], known.values[:kept]),
        Digits(known.pixels[kept:], known.values[kept:]),
        read(folder, "t10k"),
    )
    common: dict[str, Any] = {"size": size, "digits": digits, "equal": equal, "noise": noise}
    parts = (
        MegapixelMNIST(count, pool, seed=seed, split=split, label=TASKS[task], **common)
        for count, pool, split in zip((train, validation, test), pools, STREAMS, strict=True)
    )
    return Splits(*parts)


class _Kinds:
    """Digits by their value."""

    def __init__(self, values: UInt8[np.ndarray, " n"]) -> None:
        self.values = np.unique(values)
        self.equal = [np.flatnonzero(values == value) for value in self.values]
        self.others = [np.flatnonzero(values != value) for value in self.values]

    def draw(self, rng: np.random.Generator, count: int, equal: int) -> Int[np.ndarray, " count"]:
        """Numbers of so many digits of one value, and of others to make up the count."""
        kind = int(rng.integers(len(self.values)))
        equals = self.equal[kind][rng.integers(len(self.equal[kind]), size=equal)]
        others = self.others[kind][rng.integers(len(self.others[kind]), size=count - equal)]
        return np.concatenate((equals, others))


def _places(rng: np.random.Generator, count: int, size: int) -> Int[np.ndarray, "count 2"]:
    """Upper left corners of so many squares that do not overlap."""
    places: list[tuple[int, int]] = []
    for _ in range(_TRIES if size >= SIDE else 0):
        top, left = rng.integers(size - SIDE + 1, size=2).tolist()
        if all(max(abs(top - y), abs(left - x)) >= SIDE for y, x in places):
            places.append((top, left))
        if len(places) == count:
            return np.array(places)
    raise ValueError(f"{count} digits find no place in {size} x {size} px: ask for a larger size")


def _rng(*path: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(path)))
