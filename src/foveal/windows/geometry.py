"""Where windows lie in their images."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def centres(windows: Int[Tensor, "*N 4"]) -> Float[Tensor, "*N 2"]:
    """The middle (y, x) of each window, in pixels."""
    return (windows[..., :2] + windows[..., 2:]).float() / 2


def coordinates(
    windows: Float[Tensor, "*N 4"], image_size: Float[Tensor, "*#N 2"], patch_size: tuple[int, int]
) -> Float[Tensor, "*N 2 h w"]:
    """Where each pixel of each window's patch lies: (y, x) as shares of the image, 0 to 1 inside.

    >>> coordinates(torch.tensor([0.0, 2, 2, 4]), torch.tensor([4.0, 4]), (2, 2)).tolist()
    [[[0.125, 0.125], [0.375, 0.375]], [[0.625, 0.875], [0.625, 0.875]]]
    """
    axes = []
    for axis, pixels in enumerate(patch_size):
        share = (torch.arange(pixels, device=windows.device) + 0.5) / pixels
        first, last = windows[..., axis, None], windows[..., axis + 2, None]
        axes.append((first + (last - first) * share) / image_size[..., axis, None])  # (*N, pixels)
    size = (*windows.shape[:-1], *patch_size)
    y, x = axes[0][..., :, None].expand(size), axes[1][..., None, :].expand(size)
    return torch.stack((y, x), dim=-3)


def placed(
    sizes: Sequence[tuple[int, int]], place: Callable[[tuple[int, int]], Int[Tensor, "N 4"]]
) -> Int[Tensor, "*B N 4"]:
    """The windows of every image: (N, 4) where all are of one size, else (B, N, 4).

    Args:
        sizes: (H, W) of the images.
        place: from the size of an image to its windows, the same number for any.
    """
    by_size = {size: place(size) for size in set(sizes)}
    if len(by_size) == 1:
        return by_size[sizes[0]]
    return torch.stack([by_size[size] for size in sizes])


def relative_centres(
    windows: Int[Tensor, "*B N 4"], sizes: Sequence[tuple[int, int]]
) -> Float[Tensor, "*B N 2"]:
    """The middle (y, x) of each window, as shares of its image's height and width.

    Args:
        windows: (N, 4) where all images are of one size, else (B, N, 4).
        sizes: (H, W) of the B images.
    """
    whole = torch.tensor(sizes, device=windows.device)
    shares: Tensor = centres(windows) / (whole[0] if windows.ndim == 2 else whole[:, None])
    return shares
