"""Weighted sums of crops of an image without a tensor of pixels on their device: a large file.

The crops are read a bounded number at once, and again in the backward pass. Only those that matter
are read: the candidates of least weight, which together have at most 1e-6 of it, are left out. This
changes a patch by less than a thousandth of a level of 255, and spares most crops of a new
model, whose many candidates have next to no weight. In the gradient the crops that are left out
count as if they looked like the patch itself.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Image
from foveal.images.resampling import resampled_crops
from foveal.patches import eager
from foveal.patches.stored import pixels_of

_LEFT_OUT = 1e-6  # of the weight of a slot


def weighted_sum(
    image: Tensor | Image,
    windows: Int[Tensor, "M 4"],
    weights: Float[Tensor, "K M"],
    patches: Float[Tensor, "K C h w"],
) -> None:
    """Add the crops to an image's patches: patches[k] += sum_m weights[k, m] x crop_m."""
    read = _read(image, weights)
    for piece, crops in _crops(image, windows[read], patches):
        patches.flatten(1).addmm_(weights[:, read][:, piece], crops)


def inner_products(
    image: Tensor | Image,
    windows: Int[Tensor, "M 4"],
    weights: Float[Tensor, "K M"],
    patches: Float[Tensor, "K C h w"],
) -> Float[Tensor, "K M"]:
    """The inner products of what comes in for an image's patches with its crops.

    Args:
        image: that the crops are read from.
        windows: of the candidates.
        weights: of the candidates in the patches, which say what is read.
        patches: what comes in.
    """
    read = _read(image, weights)
    pieces = _crops(image, windows[read], patches)
    products = torch.cat([patches.flatten(1) @ crops.T for _, crops in pieces], dim=1)
    total = weights[:, read].sum(dim=1, keepdim=True)
    of_patch = (weights[:, read] * products).sum(dim=1, keepdim=True) / total
    found = of_patch.where(total != 0, 0.0).repeat(1, weights.shape[1])
    found[:, read] = products
    return found


def _read(image: Tensor | Image, weights: Float[Tensor, "K M"]) -> slice | Int[Tensor, " n"]:
    """The candidates whose crops are read, at least one; all where pixels are in memory."""
    if pixels_of(image) is not None:
        return slice(None)
    share, order = weights.abs().amax(dim=0).sort(stable=True)
    most = _LEFT_OUT * weights.abs().sum(dim=1).max()
    left_out = int((share.double().cumsum(dim=0) <= most).sum())
    return order[min(left_out, len(order) - 1) :].sort().values


def _crops(image: Tensor | Image, windows: Tensor, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Crops (m, C h w) in the type and on the device of the patches `like`."""
    size = (like.shape[2], like.shape[3])
    at_once = max(1, eager.HELD_AT_ONCE // like[0].numel())
    windows = windows.cpu()
    for first in range(0, len(windows), at_once):
        piece = slice(first, first + at_once)
        if isinstance(image, Tensor):
            crops = resampled_crops(image, windows[piece], size)
        else:
            crops = image.crops(windows[piece], size)
        yield piece, crops.flatten(1).to(like)
