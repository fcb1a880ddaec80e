"""Random changes of training images: functions (image (C, H, W), generator) -> image.

Float images are in [0, 1]; uint8 images stay uint8.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Real
from torch import Generator, Tensor
from torch.nn.functional import pad

Pixels = Real[Tensor, "_C _H _W"]
Transform = Callable[[Tensor, Generator], Tensor]


def shift(distance: int, fraction: float = 0.0) -> Transform:
    """Translate by up to a distance either way, each distance equally likely; zeros come in.

    Equals the paper's padding by the distance and cropping back to the size at random.

    Args:
        distance: largest translation in pixels.
        fraction: fraction in [0, 1) of each side of the image, added to the distance.
    """
    return partial(_shift, distance=distance, fraction=fraction)


def _shift(image: Pixels, generator: Generator, *, distance: int, fraction: float) -> Pixels:
    limits = [min(distance + int(fraction * side), side - 1) for side in image.shape[1:]]
    down, right = (int(torch.randint(-m, m + 1, (), generator=generator)) for m in limits)
    shifted: Pixels = pad(image, (right, -right, down, -down))
    return shifted


def affine_colour(
    scale: tuple[float, float] = (0.8, 1.2),
    offset: tuple[float, float] = (-0.1, 0.1),
    probability: float = 0.8,
) -> Transform:
    """Map pixels in [0, 1] by x -> a x + b, with one uniform a and one uniform b per image.

    Float images are not clipped, as in the paper's code; uint8 images are, by their nature.

    Args:
        scale: range of a.
        offset: range of b.
        probability: fraction of the images that are changed.
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
    # 256 possible values: a table saves a float copy of a large image.
    table = (np.arange(256) * a + 255 * b).round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(table[image.numpy()])


def flip(image: Pixels, generator: Generator) -> Pixels:
    """Mirror left and right with a probability of one half."""
    return image.flip(-1) if torch.rand((), generator=generator) < 0.5 else image
