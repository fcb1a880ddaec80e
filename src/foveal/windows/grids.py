"""Windows on regular grids."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.errors import ImageRefused


def regular(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """One window centred on every cell of a grid that divides the image evenly.

    Args:
        image_size: (H, W) in pixels.
        grid_size: (rows, columns), N = rows x columns, row by row.
        patch_size: (h, w) of every window, in pixels.

    Returns:
        Windows of exactly the patch size, at whole pixels.

    Raises:
        ValueError: a size is not positive.
        ImageRefused: there are more cells than pixels along a side.

    >>> regular((4, 4), (2, 2), (2, 2)).tolist()
    [[0, 0, 2, 2], [0, 2, 2, 4], [2, 0, 4, 2], [2, 2, 4, 4]]
    """
    if min(*image_size, *grid_size, *patch_size) < 1:
        raise ValueError(
            f"sizes must be positive: got image {image_size}, grid {grid_size}, patch {patch_size}"
        )
    if grid_size[0] > image_size[0] or grid_size[1] > image_size[1]:
        raise ImageRefused(
            f"more cells than pixels along a side: got a grid of {grid_size} for {image_size} px"
        )
    height, width = image_size
    stride = torch.tensor((height / grid_size[0], width / grid_size[1]), dtype=torch.float64)
    return centred(grid(stride / 2, stride, grid_size), patch_size)


def grid(
    first: Float[Tensor, " 2"], stride: Float[Tensor, " 2"], size: tuple[int, int]
) -> Float[Tensor, "N 2"]:
    """The points first + stride x (row, column), row by row."""
    rows = first[0] + stride[0] * torch.arange(size[0]).to(first)
    columns = first[1] + stride[1] * torch.arange(size[1]).to(first)
    return torch.cartesian_prod(rows, columns)


def centred(centres: Float[Tensor, "*N 2"], patch_size: tuple[int, int]) -> Int[Tensor, "*N 4"]:
    """Windows of exactly the patch size centred on points (y, x), rounded to whole pixels."""
    size = torch.tensor(patch_size, device=centres.device)
    top_left = torch.floor(centres - size / 2 + 0.5).long()
    return torch.cat((top_left, top_left + size), dim=-1)
