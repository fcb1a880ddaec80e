"""Windows on regular grids, of one size or of several."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


def regular(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """One window about the centre of every cell of a grid laid evenly over the image.

    Args:
        image_size: (H, W) in pixels.
        grid_size: (rows, columns), N = rows x columns, row by row.
        patch_size: (h, w) of every window, in pixels.

    Returns:
        Windows of exactly the patch size.

    Raises:
        ValueError: a size is not positive, or there are more cells than pixels along a side.

    >>> regular((4, 4), (2, 2), (2, 2)).tolist()
    [[0, 0, 2, 2], [0, 2, 2, 4], [2, 0, 4, 2], [2, 2, 4, 4]]
    """
    if min(*image_size, *grid_size, *patch_size) < 1:
        raise ValueError(
            f"sizes must be positive: got image {image_size}, grid {grid_size}, patch {patch_size}"
        )
    if grid_size[0] > image_size[0] or grid_size[1] > image_size[1]:
        raise ValueError(f"a grid of {grid_size} cells has more cells than pixels in {image_size}")
    stride = torch.tensor(image_size, dtype=torch.float64) / torch.tensor(grid_size)
    return centred(grid(stride / 2, stride, grid_size), patch_size)


def paper(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """The grid of the paper's code, for comparison: whole strides counted from the top left corner.

    With its scorer the patch lies 12 px (traffic signs) to 15 px (billiards) off the pixels that
    made the score; `foveal.models.PatchClassifier` therefore centres windows on the scorer's own
    cells.

    References:
        Cordonnier et al., CVPR 2021; released code, `extract_patches_from_indicators`.
    """
    stride = torch.tensor([image_size[0] // grid_size[0], image_size[1] // grid_size[1]])
    corner = -torch.div(torch.tensor(patch_size) - stride, 2, rounding_mode="floor")
    top_left = grid(corner.double(), stride.double(), grid_size).long()
    return torch.cat((top_left, top_left + torch.tensor(patch_size)), dim=1)


def grid(
    first: Float[Tensor, "2"], stride: Float[Tensor, "2"], size: tuple[int, int]
) -> Float[Tensor, "N 2"]:
    """The points first + stride x (row, column), row by row."""
    rows = first[0] + stride[0] * torch.arange(size[0], dtype=torch.float64)
    columns = first[1] + stride[1] * torch.arange(size[1], dtype=torch.float64)
    return torch.cartesian_prod(rows, columns)


def centred(centres: Float[Tensor, "*N 2"], patch_size: tuple[int, int]) -> Int[Tensor, "*N 4"]:
    """Windows of exactly the patch size about points (y, x), moved by less than a pixel to whole
    ones."""
    size = torch.tensor(patch_size, device=centres.device)
    top_left = torch.floor(centres - size / 2 + 0.5).long()
    return torch.cat((top_left, top_left + size), dim=-1)


class Level(NamedTuple):
    """A regular grid of windows of several sizes about the same points.

    Attributes:
        stride: pixels from one point to the next; the first is half of it from the border.
        side: of a square window of scale 1, in pixels.
        scales: what the side is multiplied by.
    """

    stride: int
    side: int
    scales: tuple[float, ...]


ASPECTS = (0.667, 1.0, 1.5)
"""Width by height of the windows about a point."""

LEVELS = (
    Level(32, 48, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(64, 96, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(128, 192, (1.0, 2 ** (1 / 3), 2 ** (2 / 3))),
)
"""Those of NTS-Net: 49 to 373 px high or wide."""


def anchors(
    image_size: tuple[int, int],
    levels: Sequence[Level] = LEVELS,
    aspects: Sequence[float] = ASPECTS,
) -> Int[Tensor, "N 4"]:
    """Windows of several sizes and aspects on several grids, 1614 on 448 x 448 pixels.

        height = int(side x scale / sqrt(aspect))      width = int(side x scale x sqrt(aspect))
        top = stride x row - ceil((height - stride) / 2)      left likewise

    Args:
        image_size: (H, W) in pixels; a level has ceil(H / stride) x ceil(W / stride) points.
        levels: grids, one after the other.
        aspects: width by height.

    Returns:
        Level by level; in it size by size, by scale and then by aspect; in it row by row. Where
        size and stride differ by an odd number, the middle is half a pixel up or left of the point.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018; Cordonnier et
        al., CVPR 2021, section 5.3. The coordinates are those of the latter's released code.
    """
    found = []
    for stride, side, scales in levels:
        points = (-(-image_size[0] // stride), -(-image_size[1] // stride))
        for scale, aspect in itertools.product(scales, aspects):
            height, width = int(side * scale / aspect**0.5), int(side * scale * aspect**0.5)
            first = torch.tensor([(stride - height) // 2, (stride - width) // 2])
            top_left = grid(first.double(), torch.full((2,), stride).double(), points).long()
            found.append(torch.cat((top_left, top_left + torch.tensor([height, width])), dim=1))
    return torch.cat(found)
