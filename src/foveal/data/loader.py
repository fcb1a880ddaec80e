"""Batches whose every random number is a function of (seed, step) alone.

Which images step t sees and how each is augmented follow from the seed and the number of the step:
a resumed run sees what an uninterrupted one would have seen, whatever the number of workers, and no
state of a random generator need ever be saved. Images are tensors (C, H, W), uint8 where the source
is, stacked to (B, C, H, W) where all sizes agree.
"""

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Real
from torch import Generator, Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Map

from foveal.data import Dataset
from foveal.data.labels import Label, Labels
from foveal.errors import UserError
from foveal.images import FileImage, Image, TensorImage, read

Pixels = Real[Tensor, "_C _H _W"]  # the sizes of a batch need not agree
Pictures = Real[Tensor, "B C H W"] | list[Pixels | Image]
Augmentation = Callable[[Any, Generator], Any]
_Item = tuple[Pixels | Image, Label, int]  # image, label, index
_ORDER, _AUGMENTATION = 0, 1  # what a random number is for


class Batch(NamedTuple):
    """The images of one step, in one tensor where their sizes agree, else in a list."""

    images: Pictures
    labels: Labels
    indices: Int[Tensor, "B"]


def number(*path: int) -> int:
    """A well-mixed 63-bit seed for a path such as (seed, purpose, step); every entry >= 0."""
    return int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0]) >> 1


def generator(*path: int) -> Generator:
    """A generator of random numbers that is a function of the path alone."""
    return Generator().manual_seed(number(*path))


def batches(
    dataset: Dataset,
    *,
    size: int,
    seed: int,
    steps: int,
    first: int = 0,
    augment: Sequence[Augmentation] = (),
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    memory: int = 2 * 2**30,
) -> Iterator[Batch]:
    """The batches of the steps first, first + 1, .. steps - 1.

    An epoch is a permutation of the images that depends on (seed, epoch); batches run on across
    epochs, so no image is ever left out. Files are decoded by `workers` processes if there are any.

    Args:
        dataset: the images to learn from, at least one.
        size: images a step over all ranks.
        seed: >= 0.
        steps: number of steps of the whole run.
        first: steps that were made already.
        augment: functions (image, generator) -> image, applied one after the other.
        workers: processes that decode; 0 decodes here.
        rank: which share of every batch to yield, 0 .. world - 1.
        world: number of shares; divides the size.
        memory: bytes of decoded files to keep for the next epoch, over all workers.

    Raises:
        ValueError: the data set is empty, or the size is no positive multiple of the world.
        UserError: an image cannot be read.
    """
    if len(dataset) == 0:
        raise ValueError("there is nothing to learn from: the data set holds 0 images")
    if size < 1 or size % world:
        raise ValueError(f"a batch must divide evenly over {world} devices: got size={size}")
    order = _order(len(dataset), seed, first * size)
    plan = ([*itertools.islice(order, size)][rank::world] for _ in range(first, steps))
    loader: DataLoader[Any] = DataLoader(
        _Source(dataset, seed, tuple(augment), memory // max(workers, 1)),
        batch_sampler=plan,
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=_leave_signals_to_the_trainer,
        generator=Generator(),
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _order(n: int, seed: int, start: int) -> Iterator[tuple[int, int]]:
    """Pairs (position in the endless sequence of epochs, index of the image) from a position on."""
    for epoch in itertools.count(start // n):
        permutation = torch.randperm(n, generator=generator(seed, _ORDER, epoch)).tolist()
        for position in range(max(start, epoch * n), (epoch + 1) * n):
            yield position, permutation[position - epoch * n]


class _Source(Map[Any]):
    """Decodes and augments the image of a pair (position, index); what DataLoader asks for."""

    def __init__(
        self, dataset: Dataset, seed: int, augment: tuple[Augmentation, ...], memory: int
    ) -> None:
        self.dataset, self.seed, self.augment = dataset, seed, augment
        self.memory, self.kept = memory, dict[int, Pixels]()

    def __getitem__(self, pair: tuple[int, int]) -> _Item | UserError:
        position, index = pair
        example = self.dataset[index]
        # Raised in a worker, the error would lose its type and gain a traceback in its text.
        try:
            image = self._pixels(index, example.image)
        except UserError as error:
            return error
        if isinstance(image, Tensor):
            random = generator(self.seed, _AUGMENTATION, position)
            for change in self.augment:
                image = change(image, random)
        return image, example.label, index

    def _pixels(self, index: int, source: Image) -> Pixels | Image:
        if index in self.kept:
            return self.kept[index]
        image = pixels(source)
        if isinstance(source, FileImage) and isinstance(image, Tensor):
            self.memory -= image.numel()
            if self.memory >= 0:
                self.kept[index] = image
        return image


def _collate(items: list[_Item | UserError]) -> Batch | UserError:
    good = []
    for item in items:
        if isinstance(item, UserError):
            return item
        good.append(item)
    images, labels, indices = zip(*good, strict=True)
    together = torch.stack([torch.as_tensor(label) for label in labels])
    return Batch(stack(images), together, torch.tensor(indices))


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the trainer still needs its batches to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError):  # no such signal everywhere
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def pixels(image: Image) -> Pixels | Image:
    """All pixels of an image (C, H, W), or the image itself where it can only be read in parts.

    A file is read anew, and nothing of it stays in memory that the caller does not keep.
    """
    if isinstance(image, TensorImage):
        return image.pixels
    return read(image.path) if isinstance(image, FileImage) else image


def stack(images: Sequence[Pixels | Image]) -> Pictures:
    """One tensor (B, C, H, W) where all images are tensors of one shape and type, else a list."""
    kinds = {(i.shape, i.dtype) if isinstance(i, Tensor) else None for i in images}
    if len(kinds) == 1 and None not in kinds:
        return torch.stack([i for i in images if isinstance(i, Tensor)])
    return list(images)


def shift(distance: int, share: float = 0.0) -> Augmentation:
    """Translation by up to the distance in pixels either way, each equally likely; zero comes in.

    The same as the paper's padding by the distance and cropping back to the size at random. The
    distance may be, or be enlarged by, a share in [0, 1) of each side of the image.
    """
    return partial(_shift, distance=distance, share=share)


def _shift(image: Pixels, generator: Generator, *, distance: int, share: float) -> Pixels:
    reach = [min(distance + int(share * side), side - 1) for side in image.shape[1:]]
    down, right = (int(torch.randint(-r, r + 1, (), generator=generator)) for r in reach)
    moved: Pixels = pad(image, (right, -right, down, -down))
    return moved


def affine_colour(
    scale: tuple[float, float] = (0.8, 1.2),
    offset: tuple[float, float] = (-0.1, 0.1),
    probability: float = 0.8,
) -> Augmentation:
    """x -> a x + b on pixels in [0, 1], with one uniform a and one uniform b an image.

    Float images are not clipped, as in the paper's code; uint8 images are, by their nature.

    Args:
        scale: least and greatest a.
        offset: least and greatest b.
        probability: share of the images that are changed.
    """
    return partial(_affine_colour, scale=scale, offset=offset, probability=probability)


def _affine_colour(
    image: Pixels,
    generator: Generator,
    *,
    scale: tuple[float, float],
    offset: tuple[float, float],
    probability: float,
) -> Pixels:
    chance, a, b = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    if chance >= probability:
        return image
    a, b = scale[0] + a * (scale[1] - scale[0]), offset[0] + b * (offset[1] - offset[0])
    if image.is_floating_point():
        return image.mul(a).add(b)
    # 256 possible values: a table spares a float copy of a large image.
    table = (np.arange(256) * a + 255 * b).round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(table[image.numpy()])


def flip(image: Pixels, generator: Generator) -> Pixels:
    """Left and right exchanged in half of the images."""
    return image.flip(-1) if torch.rand((), generator=generator) < 0.5 else image
