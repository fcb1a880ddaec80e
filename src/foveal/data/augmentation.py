"""Random changes of training images: functions (image, generator) -> image.

The change is drawn here and made where the image is looked at, see `foveal.images.augmented`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Real
from torch import Generator, Tensor

from foveal.images import Image, TensorImage
from foveal.images.augmented import AugmentedImage
from foveal.settings import Augmentation

Pixels = Real[Tensor, "_C _H _W"]
Transform = Callable[[Any, Generator], Pixels | Image]

COLOUR_SCALE, COLOUR_OFFSET, COLOUR_PROBABILITY = (0.8, 1.2), (-0.1, 0.1), 0.8
"""Pixels become a x + b in this share of the images, with a and b even in these ranges."""


def augmentations(settings: Augmentation) -> tuple[Transform, ...]:
    """Return the transforms of the training images: one, or none if nothing is to be changed."""
    return (partial(augment, settings=settings),) if settings != Augmentation() else ()


def augment(
    image: Pixels | Image, generator: Generator, *, settings: Augmentation
) -> AugmentedImage:
    """Change an image at random: shift, colour, and turn or else flip, drawn in this order.

    A shift is even over all distances up to the limit, either way; zeros come in. It equals the
    paper's padding by the limit and cropping back to the size at random. A turn exchanges rows and
    columns, where the image is square, and mirrors either, each with a probability of one half.

    Args:
        image: tensor (C, H, W), uint8 or in [0, 1], or any image.
        generator: of the random numbers.
        settings: what to change, and how far.
    """
    source = TensorImage(image) if isinstance(image, Tensor) else image
    shift, colour, transpose, flips = (0, 0), (1.0, 0.0), False, list[int]()
    if settings.shift > 0 or settings.shift_fraction > 0:
        shift = _shift(source.size, settings, generator)
    if settings.colour:
        colour = _colour(generator)
    if settings.turn:
        transpose = source.size[0] == source.size[1] and _coin(generator)
        flips = [axis for axis in (-2, -1) if _coin(generator)]
    elif settings.flip and _coin(generator):
        flips = [-1]
    return AugmentedImage(source, shift, colour, transpose, tuple(flips))


def _shift(size: tuple[int, int], settings: Augmentation, generator: Generator) -> tuple[int, int]:
    limits = [min(settings.shift + int(settings.shift_fraction * side), side - 1) for side in size]
    down, right = (int(torch.randint(-m, m + 1, (), generator=generator)) for m in limits)
    return down, right


def _colour(generator: Generator) -> tuple[float, float]:
    chance, a, b = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    if chance >= COLOUR_PROBABILITY:
        return 1.0, 0.0
    ranges = zip((a, b), (COLOUR_SCALE, COLOUR_OFFSET), strict=True)
    scale, offset = (low + share * (high - low) for share, (low, high) in ranges)
    return scale, offset


def _coin(generator: Generator) -> bool:
    return bool(torch.rand((), generator=generator) < 0.5)
