"""Billiards: which is the larger of the numbers on the left-most and the right-most ball?

The paper's pictures are no longer to be had, so these are painted here: four to eight balls on a
table, 1000 x 1000 pixels, with numbers that can be read at full size but not on a view of a quarter
of it. A picture is a function of (seed, split, index) and the settings alone.

Many pictures are painted by several processes: a script that makes a data set needs the usual
`if __name__ == "__main__":`.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from foveal._processes import spread
from foveal.data import Example, Splits
from foveal.images import TensorImage
from foveal.paper.data.billiards.layout import scene
from foveal.paper.data.billiards.picture import picture
from foveal.paper.data.billiards.questions import QUESTIONS, Question
from foveal.paper.data.billiards.scene import Scene

STREAMS = ("train", "valid", "test")


def _memory() -> int:
    """A quarter of the machine's memory, at most 8 GiB; 2 GiB where that cannot be told."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return 2 * 1024**3
    return int(min(whole // 4, 8 * 1024**3))


# Up to this many bytes of pixels are kept in memory; more are painted when asked for.
MEMORY = _memory()


class Billiards:
    """Painted billiards pictures, a data set.

    Attributes:
        classes: names of the classes.
        labels: class number of each picture.
        images: all pixels, (n, 3, size, size), or None where they are painted when asked for.

    Args:
        count: number of pictures.
        seed: nonnegative.
        split: train, valid or test; no picture is in two of them.
        size: height and width in pixels.
        balls: fewest and most balls on a table.
        radius: of a ball in sides of the picture.
        digit: height of the numerals in radii of the ball.
        numbers: the largest number on a ball, 1 to 9.
        question: what is asked of a picture.
        workers: processes that paint; None: one for each core.
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
        question: Question = QUESTIONS["max_left_right"],
        workers: int | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1: got {count}")
        if split not in STREAMS:
            raise ValueError(f"split must be one of {', '.join(STREAMS)}: got {split!r}")
        self.question, self.classes = question, question.classes
        self.size, self.split = size, split
        self.draw = partial(
            scene,
            seed,
            stream=STREAMS.index(split),
            balls=balls,
            radius=radius,
            digit=digit,
            numbers=numbers,
        )
        self.records = [self.draw(index).records(size) for index in range(count)]
        self.labels: Int[Tensor, n] = torch.tensor(
            [question.answer(record) for record in self.records], dtype=torch.int64
        )
        self.images: UInt8[Tensor, "n 3 H W"] | None = None
        if 3 * count * size * size <= MEMORY:
            self.images = _painted(self.draw, count, size, workers)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.records)

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
        kept = "painted when asked for" if self.images is None else "in memory"
        return f"Billiards({len(self)} pictures of {self.size} x {self.size}, {kept})"


def splits(train: int, validation: int, test: int, *, seed: int, **settings: Any) -> Splits:
    """So many training, validation and test pictures; `settings` are those of `Billiards`."""
    parts = (
        Billiards(count, seed=seed, split=split, **settings)
        for count, split in zip((train, validation, test), STREAMS, strict=True)
    )
    return Splits(*parts)


def _painted(
    draw: Callable[[int], Scene], count: int, size: int, workers: int | None
) -> UInt8[Tensor, "n 3 H W"]:
    """All pictures, painted in chunks: by this process alone where that takes a second or two."""
    chunk = max(1, 400_000 // (size * size))
    chunks = [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    if workers is None and count * size * size < 10_000_000:
        workers = 1
    images = torch.empty((count, 3, size, size), dtype=torch.uint8)
    paint = partial(_chunk, draw, size)
    for indices, pixels in zip(chunks, spread(paint, chunks, workers), strict=True):
        images[indices.start : indices.stop] = torch.from_numpy(pixels)
    return images


def _chunk(draw: Callable[[int], Scene], size: int, indices: range) -> UInt8[np.ndarray, "n 3 H W"]:
    return np.stack([picture(draw(index), size) for index in indices])
