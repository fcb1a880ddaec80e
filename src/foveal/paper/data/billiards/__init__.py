"""Billiards: which is the larger of the numbers on the left-most and the right-most ball?

The paper's pictures are no longer available, so these are painted here: four to eight balls on a
table, 1000 x 1000 pixels, with numbers that can be read at full size but not on a view of a quarter
of it. A picture is a function of (seed, split, index) and the settings alone.

Many pictures are painted by several processes: a script that makes a data set needs the usual
`if __name__ == "__main__":`.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from foveal._memory import memory
from foveal._processes import parallel_map
from foveal.data import Example, Splits
from foveal.images import TensorImage
from foveal.paper.data.billiards.layout import scene
from foveal.paper.data.billiards.picture import check_size, picture
from foveal.paper.data.billiards.questions import ask
from foveal.paper.data.billiards.scene import Ball, Scene

STREAMS = ("train", "valid", "test")


MEMORY = min(memory() // 4, 8 * 1024**3)
"""Bytes of pixels that are kept in memory; larger data sets are painted picture by picture."""


class Billiards:
    """Painted billiards pictures, a data set.

    Nothing is painted before the labels or a picture are used: a run that is only evaluated paints
    its test pictures alone.

    Attributes:
        classes: names of the classes.
        labels: class number of each picture.
        images: all pixels, (n, 3, size, size), or None if they are painted picture by picture.

    Args:
        count: number of pictures.
        seed: nonnegative.
        split: train, valid or test; no picture is in two of them.
        size: height and width in pixels.
        balls: fewest and most balls on a table.
        radius: radius of a ball as a fraction of the picture's side.
        digit: height of the numerals in radii of the ball.
        numbers: the largest number on a ball, 1 to 9.
        question: a key of `foveal.paper.data.billiards.questions.QUESTIONS`.
        workers: number of processes that paint; None: one per core.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        split: str = "train",
        size: int = 1000,
        balls: tuple[int, int] = (4, 8),
        radius: float = 0.037,
        digit: float = 0.40,
        numbers: int = 9,
        question: str = "max_left_right",
        workers: int | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1: got {count}")
        if split not in STREAMS:
            raise ValueError(f"split must be one of {', '.join(STREAMS)}: got {split!r}")
        self.question = ask(question, numbers)
        self.classes = self.question.classes
        self.count, self.size, self.split, self.workers = count, size, split, workers
        self.draw = partial(
            scene,
            seed,
            stream=STREAMS.index(split),
            balls=balls,
            radius=radius,
            digit=digit,
            numbers=numbers,
        )
        check_size(size)
        self.draw(0)  # refuses what cannot be painted

    @cached_property
    def records(self) -> list[list[Ball]]:
        """The balls of each picture."""
        return [self.draw(index).records(self.size) for index in range(self.count)]

    @cached_property
    def images(self) -> UInt8[Tensor, "n 3 H W"] | None:
        """All pixels, or None if they are painted picture by picture."""
        if 3 * self.count * self.size * self.size > MEMORY:
            return None
        return _paint_all(self.draw, self.count, self.size, self.workers)

    @cached_property
    def labels(self) -> Int[Tensor, " n"]:
        """Class number of each picture."""
        _ = self.images  # painted by many processes now, not by each that loads pictures later
        return torch.tensor(
            [self.question.answer(record) for record in self.records], dtype=torch.int64
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def __getitem__(self, index: int) -> Example:
        """A picture, with the boxes of the balls that decide."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} pictures")
        index %= len(self)
        if self.images is None:
            pixels = torch.from_numpy(picture(self.draw(index), self.size))
        else:
            pixels = self.images[index]
        boxes = torch.tensor([ball.box for ball in self.question.evidence(self.records[index])])
        name = f"{self.split}/{index:05d}.png"
        return Example(TensorImage(pixels), int(self.labels[index]), name, boxes)

    def __repr__(self) -> str:
        """Number and size of the pictures."""
        return f"Billiards({len(self)} pictures of {self.size} x {self.size})"


def splits(
    train: int,
    validation: int,
    test: int,
    *,
    seed: int,
    size: int = 1000,
    balls: tuple[int, int] = (4, 8),
    radius: float = 0.037,
    digit: float = 0.40,
    numbers: int = 9,
    question: str = "max_left_right",
) -> Splits:
    """Training, validation and test pictures; the last ones that were asked for are kept.

    Args:
        train: number of training pictures.
        validation: number of validation pictures.
        test: number of test pictures.
        seed: see `Billiards`.
        size: see `Billiards`.
        balls: see `Billiards`.
        radius: see `Billiards`.
        digit: see `Billiards`.
        numbers: see `Billiards`.
        question: see `Billiards`.
    """
    return _splits(
        (train, validation, test),
        seed=seed,
        size=size,
        balls=balls,
        radius=radius,
        digit=digit,
        numbers=numbers,
        question=question,
    )


@lru_cache(maxsize=1)
def _splits(counts: tuple[int, int, int], **settings: Any) -> Splits:
    train, validation, test = (
        Billiards(count, split=split, **settings)
        for count, split in zip(counts, STREAMS, strict=True)
    )
    return Splits(train, validation, test)


def _paint_all(
    draw: Callable[[int], Scene], count: int, size: int, workers: int | None
) -> UInt8[Tensor, "n 3 H W"]:
    """All pictures, painted in chunks; by this process alone if that takes a second or two."""
    chunk = max(1, 400_000 // (size * size))
    chunks = [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    if workers is None and count * size * size < 10_000_000:
        workers = 1
    images = torch.empty((count, 3, size, size), dtype=torch.uint8)
    paint = partial(_paint, draw, size)
    for indices, pixels in zip(chunks, parallel_map(paint, chunks, workers), strict=True):
        images[indices.start : indices.stop] = torch.from_numpy(pixels)
    return images


def _paint(draw: Callable[[int], Scene], size: int, indices: range) -> UInt8[np.ndarray, "n 3 H W"]:
    return np.stack([picture(draw(index), size) for index in indices])
