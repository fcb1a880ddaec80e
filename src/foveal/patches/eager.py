"""Sums of crops in plain PyTorch, for every device and type: the fallback for `compiled`.

Crops are copied out and multiplied, a bounded number of pixels at once.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.patches.stored import Stored

# Elements of the crops held at once: 16 MiB as float32, or one crop. Measured: a quarter or four
# times as many take longer.
HELD_AT_ONCE = 2**22

Tensors = Sequence[Tensor]


def weighted_sum(
    images: Sequence[Stored], corners: Tensors, weights: Tensors, patches: Tensors
) -> None:
    """Add to each image's patches its crops: patches[k] += sum_m weights[k, m] x crop_m.

    Args:
        images: each (C, H, W), of any type.
        corners: each Int (M, 2), top and left.
        weights: each (K, M), of the patches' type.
        patches: each (K, C, h, w), contiguous.
    """
    for image, corner, weight, out in zip(images, corners, weights, patches, strict=True):
        for piece, crops in _pieces(image, corner, out):
            out.flatten(1).addmm_(weight[:, piece], crops)


def inner_products(images: Sequence[Stored], corners: Tensors, patches: Tensors) -> list[Tensor]:
    """The inner products (K, M) of each image's patches with its crops."""
    each = []
    for image, corner, incoming in zip(images, corners, patches, strict=True):
        dots = incoming.new_empty(len(incoming), len(corner))
        for piece, crops in _pieces(image, corner, incoming):
            dots[:, piece] = incoming.flatten(1) @ crops.T
        each.append(dots)
    return each


def scatter_add(images: Tensors, corners: Tensors, weights: Tensors, patches: Tensors) -> None:
    """Add to each image what its crops receive: crop_m += sum_k weights[k, m] x patches[k]."""
    for image, corner, weight, incoming in zip(images, corners, weights, patches, strict=True):
        for m, top_left in enumerate(corner.tolist()):
            into, out_of = _intersection(top_left, incoming.shape[2:], image.shape[1:])
            image[:, *out_of] += torch.einsum("k,kchw->chw", weight[:, m], incoming[:, :, *into])


def cut(image: Tensor, corners: Int[Tensor, "M 2"], size: tuple[int, int]) -> Tensor:
    """Crops (M, C, h, w) in the image's own type, zero outside it."""
    _, height, width = image.shape
    h, w = size
    top, left = corners.unbind(dim=1)
    if image.device.type != "cpu":
        return _gathered(image, corners, size)
    inside = (top >= 0) & (left >= 0) & (top <= height - h) & (left <= width - w)
    if height >= h and width >= w:
        # a view, so that only the crops are copied
        windows = image.unfold(1, h, 1).unfold(2, w, 1).permute(1, 2, 0, 3, 4)
        crops = windows[top.clamp(0, height - h), left.clamp(0, width - w)]
    else:
        crops = image.new_empty(len(corners), image.shape[0], h, w)
    for m in (~inside).nonzero().flatten().tolist():
        into, out_of = _intersection(corners[m].tolist(), size, (height, width))
        crops[m].zero_()[:, *into] = image[:, *out_of]
    return crops


def _gathered(image: Tensor, corners: Int[Tensor, "M 2"], size: tuple[int, int]) -> Tensor:
    """`cut` pixel by pixel, where the host must not ask which windows cross the border."""
    places, inside = [], []
    for corner, pixels, side in zip(corners.unbind(dim=1), size, image.shape[1:], strict=True):
        at = corner[:, None] + torch.arange(pixels, device=corner.device)  # (M, h or w)
        places.append(at.clamp(0, side - 1))
        inside.append((at >= 0) & (at < side))
    crops = image[:, places[0][:, :, None], places[1][:, None, :]]  # (C, M, h, w)
    known = inside[0][:, :, None] & inside[1][:, None, :]
    return crops.masked_fill(~known, 0).movedim(1, 0)


def _pieces(image: Stored, corners: Tensor, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Crops (m, C h w) in the size and type of `like`, a bounded number at once."""
    pixels, tone = image.pixels, image.tone
    inside = pixels.new_ones(()).expand(1, *pixels.shape[1:])
    at_once = max(1, HELD_AT_ONCE // like[0].numel())
    for first in range(0, len(corners), at_once):
        piece = slice(first, first + at_once)
        size = (like.shape[2], like.shape[3])
        crops = tone(cut(pixels, corners[piece], size).to(like.dtype))
        if tone.of_zero != 0:
            crops = crops * cut(inside, corners[piece], size).to(like.dtype)
        yield piece, crops.flatten(1)


def _intersection(
    corner: Sequence[int], window: Sequence[int], size: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a window inside the image, as slices of the window and of the image."""
    into, out_of = [], []
    for first, count, end in zip(corner, window, size, strict=True):
        begin = max(first, 0)
        stop = max(min(first + count, end), begin)
        into.append(slice(begin - first, stop - first))
        out_of.append(slice(begin, stop))
    return tuple(into), tuple(out_of)
