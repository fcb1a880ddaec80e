"""From a selection to patches (B, K, C, h, w): what each slot sees at full resolution.

    patches[b, j] = sum_m weights[b, j, m] x crop of image b at candidate m

Only candidates in reach are cut out, piece by piece, and none is kept for the backward pass, which
cuts again. A hard selection is plain slicing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal.images import Image, TensorImage
from foveal.topk import Selection

# Crops are held at once up to this many numbers (64 MiB as float32).
_HELD_AT_ONCE = 2**24


def extract(
    images: Tensor | Sequence[Image],
    windows: Int[Tensor, "*B N 4"],
    selection: Selection,
    size: tuple[int, int],
) -> Float[Tensor, "B K C h w"]:
    """Cut out what the slots look at, differentiable in the weights and in a float tensor of
    images.

    Time and memory, forward and backward, follow the candidates in reach, never all N.

    Args:
        images: (B, C, H, W), floats in [0, 1] or uint8; or a sequence of B images of any sizes.
        windows: top left bottom right of the N candidates in pixels; with a leading B where they
            differ by image. Outside the image there are zeros.
        selection: over these N candidates.
        size: (h, w) of a patch. Windows of another size are resampled to it, with antialiasing.

    Returns:
        Patches in [0, 1], in the type of the weights (that of the images for float tensors).

    Raises:
        ValueError: batch sizes or shapes that do not fit together.
    """
    _check(images, windows, selection, size)
    if windows.ndim == 2:
        near = windows.to(selection.candidates.device)[selection.candidates]  # (B, M, 4)
    else:
        index = selection.candidates[..., None].expand(-1, -1, 4)
        near = windows.to(index.device).gather(1, index)
    if _is_hard(selection) and not (isinstance(images, Tensor) and images.requires_grad):
        crops = [_crops(image, each, size) for image, each in zip(images, near, strict=True)]
        dtype = _dtype(images, selection.weights)
        return torch.stack([_as_float(each, dtype) for each in crops])
    tensor = images if isinstance(images, Tensor) else None
    patches: Tensor = _Soft.apply(  # type: ignore[no-untyped-call]
        selection.weights, tensor, images, near, size
    )
    return patches


def _check(
    images: Tensor | Sequence[Image],
    windows: Tensor,
    selection: Selection,
    size: tuple[int, int],
) -> None:
    batch = selection.weights.shape[0]
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W): got {tuple(images.shape)}")
    if len(images) != batch:
        raise ValueError(f"got {len(images)} images for a selection of {batch}")
    if windows.ndim not in (2, 3) or windows.shape[-1] != 4:
        raise ValueError(f"windows must have shape (N, 4) or (B, N, 4): got {tuple(windows.shape)}")
    if windows.ndim == 3 and windows.shape[0] != batch:
        raise ValueError(f"got windows of {windows.shape[0]} images for a selection of {batch}")
    if int(selection.candidates.max()) >= windows.shape[-2]:
        raise ValueError(
            f"the selection names candidate {int(selection.candidates.max())}, "
            f"but there are only {windows.shape[-2]} windows"
        )
    if min(size) < 1:
        raise ValueError(f"a patch must have at least one pixel: got {size}")


def _dtype(images: Tensor | Sequence[Image], weights: Tensor) -> torch.dtype:
    """Of the patches: that of float tensors, else that of the weights."""
    if isinstance(images, Tensor) and images.is_floating_point():
        return images.dtype
    return weights.dtype


def _is_hard(selection: Selection) -> bool:
    weights = selection.weights
    if weights.requires_grad or weights.shape[1] != weights.shape[2]:
        return False
    one_hot = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return bool((weights == one_hot).all())


class _Soft(torch.autograd.Function):
    """The weighted sum of crops; the backward pass cuts them again."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: Float[Tensor, "B K M"],
        tensor: Tensor | None,
        images: Tensor | Sequence[Image],
        windows: Int[Tensor, "B M 4"],
        size: tuple[int, int],
    ) -> Float[Tensor, "B K C h w"]:
        channels = images.shape[1] if isinstance(images, Tensor) else images[0].channels
        dtype = _dtype(images, weights)
        sums = torch.zeros(
            *weights.shape[:2], channels * size[0] * size[1], dtype=dtype, device=weights.device
        )
        with torch.autocast(weights.device.type, enabled=False):
            for b, piece, crops in _cut_out(images, windows, size, channels):
                sums[b].addmm_(weights[b, :, piece].to(dtype), _as_float(crops, dtype).flatten(1))
        ctx.save_for_backward(weights, windows, *(() if tensor is None else (tensor,)))
        ctx.images, ctx.size, ctx.channels = None if tensor is not None else images, size, channels
        return sums.view(*weights.shape[:2], channels, *size)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K C h w"]
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        weights, windows, *tensor = ctx.saved_tensors
        images = tensor[0] if tensor else ctx.images
        to_weights = torch.zeros_like(weights) if ctx.needs_input_grad[0] else None
        to_images = torch.zeros_like(images) if ctx.needs_input_grad[1] else None
        with torch.autocast(weights.device.type, enabled=False):
            if to_weights is not None:
                for b, piece, crops in _cut_out(images, windows, ctx.size, ctx.channels):
                    each = _as_float(crops, incoming.dtype).flatten(1)
                    to_weights[b, :, piece] = (incoming[b].flatten(1) @ each.T).to(weights.dtype)
            if to_images is not None:
                _spread(to_images, weights, windows, incoming)
        return to_weights, to_images, None, None, None


def _cut_out(
    images: Tensor | Sequence[Image],
    windows: Int[Tensor, "B M 4"],
    size: tuple[int, int],
    channels: int,
) -> Iterator[tuple[int, slice, Tensor]]:
    """Image after image, the crops of a bounded number of candidates at once."""
    at_once = max(1, _HELD_AT_ONCE // (channels * size[0] * size[1]))
    for b, image in enumerate(images):
        for first in range(0, windows.shape[1], at_once):
            piece = slice(first, first + at_once)
            yield b, piece, _crops(image, windows[b, piece], size)


def _crops(image: Tensor | Image, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Tensor:
    """Crops (M, C, h, w) in the image's own type."""
    if isinstance(image, TensorImage):
        image = image.pixels
    if not isinstance(image, Tensor):
        return image.crops(windows, size)
    sides = windows[:, 2:] - windows[:, :2]
    if (sides != torch.tensor(size, device=sides.device)).any():
        return TensorImage(image).crops(windows, size)
    _, height, width = image.shape
    h, w = size
    inside = (windows[:, :2] >= 0).all(dim=1)
    inside &= (windows[:, 2] <= height) & (windows[:, 3] <= width)
    if height >= h and width >= w:
        places = (
            image.unfold(1, h, 1).unfold(2, w, 1).permute(1, 2, 0, 3, 4)
        )  # a view: nothing copied
        top, left = windows[:, 0].clamp(0, height - h), windows[:, 1].clamp(0, width - w)
        crops = places[top, left]
    else:
        crops = image.new_empty(len(windows), image.shape[0], h, w)
    for m in (~inside).nonzero().flatten().tolist():
        into, out_of = _common(windows[m].tolist(), (height, width))
        crops[m].zero_()[into] = image[out_of]
    return crops


def _common(
    window: list[int], size: tuple[int, int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What a window shares with an image: where in the window, and where in the image."""
    top, left, bottom, right = window
    y0, y1 = max(top, 0), max(min(bottom, size[0]), max(top, 0))
    x0, x1 = max(left, 0), max(min(right, size[1]), max(left, 0))
    into = (slice(None), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return into, (slice(None), slice(y0, y1), slice(x0, x1))


def _as_float(crops: Tensor, dtype: torch.dtype) -> Tensor:
    if crops.dtype == torch.uint8:
        return crops.to(dtype).div_(255)
    return crops.to(dtype)


def _spread(
    images: Float[Tensor, "B C H W"],
    weights: Float[Tensor, "B K M"],
    windows: Int[Tensor, "B M 4"],
    incoming: Float[Tensor, "B K C h w"],
) -> None:
    """Add to each image's gradient what its crops contributed."""
    size = (images.shape[2], images.shape[3])
    for b, image in enumerate(images):
        for m, window in enumerate(windows[b].tolist()):
            if (window[2] - window[0], window[3] - window[1]) != tuple(incoming.shape[-2:]):
                raise ValueError("images receive no gradient through windows that are resampled")
            into, out_of = _common(window, size)
            crop = torch.einsum("k,kchw->chw", weights[b, :, m].to(incoming.dtype), incoming[b])
            image[out_of] += crop[into]
