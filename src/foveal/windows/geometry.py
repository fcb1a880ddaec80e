"""Coordinates of windows: their order, their centres, and their pixels relative to the image."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map

T = TypeVar("T")


def to_xyxy(windows: Int[Tensor, "*N 4"]) -> Int[Tensor, "*N 4"]:
    """Left top right bottom, the order of torchvision and kornia.

    >>> to_xyxy(torch.tensor([[1, 2, 3, 5]])).tolist()
    [[2, 1, 5, 3]]
    """
    return windows[..., [1, 0, 3, 2]]


def from_xyxy(boxes: Int[Tensor, "*N 4"]) -> Int[Tensor, "*N 4"]:
    """Top left bottom right, from left top right bottom.

    >>> from_xyxy(torch.tensor([[2, 1, 5, 3]])).tolist()
    [[1, 2, 3, 5]]
    """
    return boxes[..., [1, 0, 3, 2]]


def centres(windows: Int[Tensor, "*N 4"]) -> Float[Tensor, "*N 2"]:
    """The centre (y, x) of each window, in pixels."""
    return (windows[..., :2] + windows[..., 2:]).float() / 2


def coordinates(
    windows: Float[Tensor, "*N 4"], image_size: Float[Tensor, "*#N 2"], patch_size: tuple[int, int]
) -> Float[Tensor, "*N 2 h w"]:
    """The position (y, x) of each pixel of each window's patch, as fractions of the image.

    >>> coordinates(torch.tensor([0.0, 2, 2, 4]), torch.tensor([4.0, 4]), (2, 2)).tolist()
    [[[0.125, 0.125], [0.375, 0.375]], [[0.625, 0.875], [0.625, 0.875]]]
    """
    axes = []
    for axis, pixels in enumerate(patch_size):
        fraction = (torch.arange(pixels, device=windows.device) + 0.5) / pixels
        first, last = windows[..., axis, None], windows[..., axis + 2, None]
        position = first + (last - first) * fraction  # (*N, pixels)
        axes.append(position / image_size[..., axis, None])
    size = (*windows.shape[:-1], *patch_size)
    y, x = axes[0][..., :, None].expand(size), axes[1][..., None, :].expand(size)
    return torch.stack((y, x), dim=-3)


def by_image_size(sizes: Sequence[tuple[int, int]], function: Callable[[tuple[int, int]], T]) -> T:
    """What a function of an image's size gives for every image, called once per distinct size.

    Args:
        sizes: (H, W) of the B images.
        function: from (H, W) to tensors, for instance windows (N, 4), of equal shapes for any size.

    Returns:
        The tensors (N, ...) where all images have one size, else stacked to (B, N, ...).

    >>> by_image_size([(2, 3), (4, 4)], lambda size: torch.tensor([[0, 0, *size]])).tolist()
    [[[0, 0, 2, 3]], [[0, 0, 4, 4]]]
    """
    by_size = {size: function(size) for size in set(sizes)}
    if len(by_size) == 1:
        return by_size[sizes[0]]
    stacked: T = tree_map(lambda *each: torch.stack(each), *(by_size[size] for size in sizes))
    return stacked


def relative_centres(
    windows: Int[Tensor, "*B N 4"], sizes: Sequence[tuple[int, int]]
) -> Float[Tensor, "*B N 2"]:
    """The centre (y, x) of each window, as fractions of its image's height and width.

    Args:
        windows: (N, 4) where all images have one size, else (B, N, 4).
        sizes: (H, W) of the B images.
    """
    size = torch.tensor(sizes, device=windows.device)  # (B, 2)
    relative: Tensor = centres(windows) / (size[0] if windows.ndim == 2 else size[:, None])
    return relative
