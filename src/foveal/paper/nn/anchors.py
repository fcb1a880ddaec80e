"""Anchors of NTS-Net: windows of several sizes and aspects on several grids."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.windows import grid


class Level(NamedTuple):
    """A regular grid of points with windows of several sizes around each.

    Attributes:
        stride: pixels from one point to the next; the first is half of it from the border.
        side: side of a square window of scale 1, in pixels.
        scales: factors on the side.
    """

    stride: int
    side: int
    scales: tuple[float, ...]


ASPECTS = (0.667, 1.0, 1.5)
"""Width by height of the windows around a point."""

LEVELS = (
    Level(32, 48, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(64, 96, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(128, 192, (1.0, 2 ** (1 / 3), 2 ** (2 / 3))),
)
"""The grids of NTS-Net: windows 49 to 373 px high or wide."""


def anchors(
    image_size: tuple[int, int],
    levels: Sequence[Level] = LEVELS,
    aspects: Sequence[float] = ASPECTS,
) -> Int[Tensor, "N 4"]:
    """Return windows of several sizes and aspects on several grids, 1614 on 448 x 448 pixels.

        height = int(side x scale / sqrt(aspect))      width = int(side x scale x sqrt(aspect))
        top = stride x row - ceil((height - stride) / 2)      left likewise

    Args:
        image_size: (H, W) in pixels; a level has ceil(H / stride) x ceil(W / stride) points.
        levels: grids, one after the other.
        aspects: width by height.

    Returns:
        Level by level, in a level by scale and then by aspect, in these row by row. If size and
        stride differ by an odd number, the centre is half a pixel up or left of the point.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018; Cordonnier et
        al., CVPR 2021, section 5.3. The coordinates are those of the latter's released code.
    """
    windows = []
    for stride, side, scales in levels:
        points = (-(-image_size[0] // stride), -(-image_size[1] // stride))
        for scale, aspect in itertools.product(scales, aspects):
            height, width = int(side * scale / aspect**0.5), int(side * scale * aspect**0.5)
            first = torch.tensor([(stride - height) // 2, (stride - width) // 2])
            top_left = grid(first.double(), torch.full((2,), stride).double(), points).long()
            windows.append(torch.cat((top_left, top_left + torch.tensor([height, width])), dim=1))
    return torch.cat(windows)
