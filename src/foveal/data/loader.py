"""Batches whose every random number is a function of (seed, step) alone.

The images of step t and their augmentation follow from the seed and the number of the step: a
resumed run sees what an uninterrupted one would have seen, whatever the number of workers. Images
are tensors (C, H, W), uint8 if the source is, stacked to (B, C, H, W) if all sizes agree; augmented
ones are listed, and changed only where they are looked at. A worker process hands over one tensor
instead of B. Labels are those that the data set lists.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int, Real
from torch import Generator, Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as Map

from foveal._futures import map_in_order
from foveal._seeding import AUGMENTATION, ORDER, derived_generator
from foveal.data import Dataset
from foveal.data.augmentation import Pixels, Transform
from foveal.data.cache import Cache
from foveal.data.kept_images import KeptImages, pixels
from foveal.data.labels import Labels
from foveal.data.workers import ignore_signals, iterate
from foveal.errors import UserError
from foveal.images import Image, TensorImage, nodata_of
from foveal.images.augmented import AugmentedImage
from foveal.images.tile_cache import TileCache

__all__ = ["Batch", "KeptImages", "Pictures", "Pixels", "batches", "pixels", "stack"]

Pictures = Real[Tensor, "B C H W"] | list[Pixels | Image]
_Item = tuple[Pixels | Image, int]  # image, index


class Batch(NamedTuple):
    """The images of one step: one tensor if their sizes agree, else a list."""

    images: Pictures
    labels: Labels
    indices: Int[Tensor, " B"]


def batches(
    dataset: Dataset,
    *,
    size: int,
    seed: int,
    steps: int,
    first: int = 0,
    augment: Sequence[Transform] = (),
    cache: Cache = Cache(),
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Yield the batches of the steps first, first + 1, .. steps - 1.

    An epoch is a permutation of the images that depends on (seed, epoch); batches run on across
    epochs, so no image is ever left out.

    Args:
        dataset: training images, at least one.
        size: number of images per step over all ranks.
        seed: seed of order and augmentation, 0 or more.
        steps: number of steps of the whole run.
        first: number of steps made already.
        augment: transforms, applied one after the other.
        cache: where decoded images are kept, and who decodes them.
        rank: which part of every batch to yield, 0 .. world - 1.
        world: number of parts; divides the size.

    Raises:
        ValueError: the data set is empty.
        Failure: a process that loads images has died.
        UserError: an image cannot be read, or the size is no positive multiple of the world.
    """
    if len(dataset) == 0:
        raise ValueError("there is nothing to train on: the data set holds 0 images")
    check_batch(size, world)
    labels, order = dataset.labels, _order(len(dataset), seed, first * size)
    steps_left = ([*itertools.islice(order, size)][rank::world] for _ in range(first, steps))
    decoded = cache.memory // max(cache.workers, 1)
    kept = KeptImages(decoded, cache.device, TileCache(cache.tiles))
    loader: DataLoader[Any] = DataLoader(
        _Source(dataset, seed, tuple(augment), kept, 0 if cache.workers else cache.threads),
        batch_sampler=steps_left,
        collate_fn=_collate,
        num_workers=cache.workers,
        pin_memory=cache.pinned and cache.workers > 0,
        worker_init_fn=ignore_signals,
        generator=Generator(),
    )
    for batch in iterate(loader) if cache.workers else loader:
        if isinstance(batch, UserError):
            raise batch
        images, indices = batch
        if isinstance(images, list):
            images = [kept.reopened(*each) for each in zip(indices.tolist(), images, strict=True)]
        yield Batch(images, labels[indices], indices)


def check_batch(size: int, world: int) -> None:
    """Refuse a batch that does not divide over the devices.

    Raises:
        UserError: the size is no positive multiple of the world.
    """
    if size < 1 or size % world:
        raise UserError(f"a batch must divide evenly over {world} devices: got {size} images")


def _order(n: int, seed: int, start: int) -> Iterator[tuple[int, int]]:
    """Pairs (position in the endless sequence of epochs, index of the image) from a position on."""
    for epoch in itertools.count(start // n):
        generator = derived_generator(seed, ORDER, epoch)
        permutation = torch.randperm(n, generator=generator).tolist()
        for position in range(max(start, epoch * n), (epoch + 1) * n):
            yield position, permutation[position - epoch * n]


class _Source(Map[Any]):
    """Decodes and augments the image of a pair (position, index), as DataLoader asks for it."""

    def __init__(
        self,
        dataset: Dataset,
        seed: int,
        augment: tuple[Transform, ...],
        kept: KeptImages,
        threads: int,
    ) -> None:
        self.dataset, self.seed, self.augment = dataset, seed, augment
        self.kept, self.threads = kept, threads

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[_Item | UserError]:
        """The images of a batch; threads decode them, if there are any."""
        if self.threads == 0:
            return [self[pair] for pair in pairs]
        with ThreadPoolExecutor(self.threads, "decode") as pool:
            return list(map_in_order(pool, self.__getitem__, pairs))

    def __getitem__(self, pair: tuple[int, int]) -> _Item | UserError:
        position, index = pair
        # Raised in a worker, the error would lose its type and gain a traceback in its text.
        try:
            image = self.kept.pixels(index, self.dataset[index].image)
        except UserError as error:
            return error
        generator = derived_generator(self.seed, AUGMENTATION, position)
        for transform in self.augment:
            image = transform(image, generator)
        return image, index


def _collate(
    items: list[_Item | UserError],
) -> tuple[Pictures, Int[Tensor, " B"]] | UserError:
    good = []
    for item in items:
        if isinstance(item, UserError):
            return item
        good.append(item)
    images, indices = zip(*good, strict=True)
    handed = images if get_worker_info() is None else _packed(images)
    return stack(handed), torch.tensor(indices)


def _packed(images: Sequence[Pixels | Image]) -> Sequence[Pixels | Image]:
    """Augmented images whose pixels are not those that this process keeps, to be handed over.

    Pixels that are handed over move to shared memory, and hold a file open as long as they live.
    """
    pixels = [_augmented_pixels(image) for image in images]
    decoded = [each.permute(1, 2, 0) for each in pixels if each is not None]  # as they were decoded
    if not decoded:
        return images
    copies = stack(decoded)
    rest = iter(copies if isinstance(copies, Tensor) else [each.clone() for each in decoded])
    return [
        replace(image, source=TensorImage(next(rest).permute(2, 0, 1), nodata_of(image.source)))
        if isinstance(image, AugmentedImage) and each is not None
        else image
        for image, each in zip(images, pixels, strict=True)
    ]


def _augmented_pixels(image: Pixels | Image) -> Pixels | None:
    """The pixels that an augmented image changes; None if it is none, or they are in a file."""
    source = image.source if isinstance(image, AugmentedImage) else None
    return source.pixels if isinstance(source, TensorImage) else None


def stack(images: Sequence[Pixels | Image]) -> Pictures:
    """Stack to (B, C, H, W) if all images are tensors of one shape, type and device, else list
    them."""
    kinds = {(i.shape, i.dtype, i.device) if isinstance(i, Tensor) else None for i in images}
    if len(kinds) == 1 and None not in kinds:
        return torch.stack([i for i in images if isinstance(i, Tensor)])
    return list(images)
