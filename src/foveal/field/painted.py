"""Painted tasks: handwritten digits on large black images, and numbered balls on small tables.

Every image is a function of (seed, split, index), so each is a group of its own.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.errors import UserError
from foveal.field.pictures import Picture, Split

if TYPE_CHECKING:
    from foveal.data import Dataset, Splits

SPLITS: dict[str, Split] = {"train": "train", "validation": "val", "test": "test"}


def digits(
    *,
    source: Path,
    size: int = 1500,
    train: int = 1000,
    validation: int = 200,
    test: int = 300,
    seed: int = 0,
) -> Iterator[Picture]:
    """Five small handwritten digits on a large black image: which one occurs three times? (MNIST).

    Args:
        source: folder of MNIST's four files.
        size: height and width in pixels: 1500 or 300, for instance.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        seed: seed of the images.

    Raises:
        UserError: the source is not MNIST, or a number is out of range.
    """
    return _digits("majority", source, size, (train, validation, test), seed)


def digits_multi(
    *,
    source: Path,
    size: int = 1500,
    train: int = 1000,
    validation: int = 200,
    test: int = 300,
    seed: int = 0,
) -> Iterator[Picture]:
    """Five small handwritten digits on a large black image: which occur? Several labels (MNIST).

    Args:
        source: folder of MNIST's four files.
        size: height and width in pixels: 1500 or 300, for instance.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        seed: seed of the images.

    Raises:
        UserError: the source is not MNIST, or a number is out of range.
    """
    return _digits("present", source, size, (train, validation, test), seed)


def balls(
    *, train: int = 12_000, validation: int = 300, test: int = 1000, seed: int = 0
) -> Iterator[Picture]:
    """Painted billiards, 160 px: the larger number of the left-most and the right-most ball.

    Args:
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        seed: seed of the images.

    Raises:
        UserError: a number is out of range.
    """
    from foveal.paper.data import billiards

    try:
        splits = billiards.splits(
            train, validation, test, seed=seed, size=160, balls=(2, 3), radius=0.09, digit=0.8
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    yield from _pictures(splits)


def _digits(
    question: str, source: Path, size: int, counts: tuple[int, int, int], seed: int
) -> Iterator[Picture]:
    from foveal.paper.data import megapixel_mnist

    try:
        splits = megapixel_mnist.splits(source, *counts, seed=seed, size=size, task=question)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None
    yield from _pictures(splits)


def _pictures(splits: "Splits") -> Iterator[Picture]:
    from foveal.data.labels import label_name

    for part, split in SPLITS.items():
        dataset: Dataset = getattr(splits, part)
        for index in range(len(dataset)):
            example = dataset[index]
            boxes = () if example.boxes is None else tuple(map(tuple, example.boxes.tolist()))
            name = f"{split}/{index:05d}"
            label = label_name(example.label, dataset.classes)
            yield Picture(
                Path(f"{name}.png"), label, split, name, boxes, partial(_png, example.image)
            )


def _png(image: Any) -> bytes:
    """The file of an image in memory."""
    from foveal.field.pixels import png

    pixels = image.pixels.numpy()  # (C, H, W)
    return png(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
