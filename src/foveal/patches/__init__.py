"""From a selection to patches (B, K, C, h, w): what each slot sees at full resolution.

    patches[b, j] = sum_m weights[b, j, m] x crop of image b at candidate m

Only active candidates are read, and no crop is kept for the backward pass, which reads again. A
hard selection is plain slicing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal._float64 import moved
from foveal.images import Image, Images, TensorImage
from foveal.images.resampling import resampled_crops
from foveal.patches import gpu
from foveal.patches.eager import cut
from foveal.patches.soft import fastest_backend, result_type, weighted_crops
from foveal.patches.stored import Side, common_sides
from foveal.topk import Selection

__all__ = ["crop", "extract"]


def extract(
    images: Images,
    windows: Int[Tensor, "*B N 4"],
    selection: Selection,
    patch_size: int | tuple[int, int],
    *,
    sides: Sequence[Side | None] | None = None,
) -> Float[Tensor, "B K C h w"]:
    """Cut out what the slots look at, differentiable in the weights and in tensors of images.

    Time and memory, forward and backward, grow with the active candidates, never with all N: the
    crops of 10 slots cost about as much as their inner products with the weights, see
    `foveal.patches.compiled`. Differentiable once: a second derivative and `torch.func` raise a
    RuntimeError.

    Args:
        images: (B, C, H, W), floats in [0, 1] or uint8; or a sequence of B tensors (C, H, W) or
            `Image`s of any sizes. On any device: what the patches need is moved.
        windows: top left bottom right of the N candidates in pixels; with a leading B where they
            differ by image. Outside the image pixels are zero.
        selection: over these N candidates.
        patch_size: (h, w) of a patch, or the side of a square one. Windows of another size are
            resampled to it, with antialiasing.
        sides: (h, w) of each image's windows, None where they differ; found out by default, for
            which the host waits where the windows are on a GPU.

    Returns:
        Patches in [0, 1] on the device of the weights; in the type of the images for tensors of
        floats, else in the type of the weights.

    Raises:
        ValueError: batch sizes or shapes that do not fit together.
    """
    size = _pair(patch_size)
    weights = selection.weights
    candidates = selection.candidates.to(weights.device)
    _check_batch(images, windows, len(weights))
    _check(windows, candidates, size)
    sides = common_sides(windows, len(weights)) if sides is None else sides
    windows = windows.to(weights.device)
    if windows.ndim == 2:
        active = windows[candidates]  # (B, M, 4)
    else:
        active = windows.gather(1, candidates[..., None].expand(-1, -1, 4))
    if _is_fused(images, sides, size, weights.device):  # and nobody waits to learn if it is hard
        return _weighted(images, active, sides, weights, size)
    if selection.is_hard and not _require_gradient(images):
        return _cut_all(images, active, sides, size, weights)
    return _weighted(images, active, sides, weights, size)


def crop(
    images: Images, windows: Int[Tensor, "*B N 4"], patch_size: int | tuple[int, int]
) -> Float[Tensor, "B N C h w"]:
    """Cut all N windows out of each image, differentiable in tensors of images.

    Args:
        images: as in `extract`.
        windows: as in `extract`.
        patch_size: (h, w) of a crop, or the side of a square one.

    Returns:
        Crops in [0, 1] on the device of the windows; in the type of the images for tensors of
        floats, else float32.

    >>> crop(torch.eye(3)[None, None], torch.tensor([[0, 0, 2, 2], [2, 2, 4, 4]]), 2).tolist()
    [[[[[1.0, 0.0], [0.0, 1.0]]], [[[1.0, 0.0], [0.0, 0.0]]]]]
    """
    size = _pair(patch_size)
    _check_batch(images, windows, len(images))
    sides = common_sides(windows, len(images))
    windows = windows.expand(len(images), -1, -1)  # (B, N, 4)
    n = windows.shape[1]
    like = torch.empty(0, device=windows.device)
    if not _require_gradient(images) and not _is_fused(images, sides, size, like.device):
        return _cut_all(images, windows, sides, size, like)
    one_hot = torch.eye(n, device=like.device).expand(len(images), n, n)
    return _weighted(images, windows, sides, one_hot, size)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _check_batch(images: Images, windows: Tensor, batch: int) -> None:
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W): got {tuple(images.shape)}")
    if len(images) != batch:
        raise ValueError(f"got {len(images)} images for a selection of {batch}")
    if windows.ndim not in (2, 3) or windows.shape[-1] != 4:
        raise ValueError(f"windows must have shape (N, 4) or (B, N, 4): got {tuple(windows.shape)}")
    if windows.ndim == 3 and windows.shape[0] != batch:
        raise ValueError(f"got windows of {windows.shape[0]} images for {batch} images")


def _check(windows: Tensor, candidates: Tensor, size: tuple[int, int]) -> None:
    # another device refuses by itself, and would have to be waited for
    if candidates.device.type == "cpu" and (last := int(candidates.max())) >= windows.shape[-2]:
        raise ValueError(
            f"the selection names candidate {last}, but there are only {windows.shape[-2]} windows"
        )
    if min(size) < 1:
        raise ValueError(f"a patch must have at least one pixel: got {size}")


def _require_gradient(images: Images) -> bool:
    """Whether a gradient must reach the images; one of an `Image`'s own pixels is not asked."""
    if isinstance(images, Tensor):
        return images.requires_grad
    return any(isinstance(image, Tensor) and image.requires_grad for image in images)


def _is_fused(
    images: Images, sides: Sequence[Side | None], size: tuple[int, int], device: torch.device
) -> bool:
    """Whether one launch on the device makes the patches of all images."""
    return gpu.suits(device) and gpu.reads(images, sides, size, device)


def _weighted(
    images: Images,
    windows: Int[Tensor, "B M 4"],
    sides: Sequence[Side | None],
    weights: Float[Tensor, "B K M"],
    size: tuple[int, int],
) -> Float[Tensor, "B K C h w"]:
    """Weighted sums of crops, by the fastest backend for the images."""
    if isinstance(images, Tensor):
        images = moved(images, weights.device)
    elif _require_gradient(images):  # images of their own sizes, each a batch of one
        singles = [i[None] if isinstance(i, Tensor) else [i] for i in images]
        each = zip(singles, windows, sides, weights, strict=True)
        return torch.cat(
            [_weighted(image, near[None], [side], by[None], size) for image, near, side, by in each]
        )
    backend = fastest_backend(images, weights.device)
    return weighted_crops(images, windows, weights, size, backend, sides)


def _cut_all(
    images: Images,
    windows: Int[Tensor, "B M 4"],
    sides: Sequence[Side | None],
    size: tuple[int, int],
    like: Tensor,
) -> Float[Tensor, "B M C h w"]:
    """Plain crops on the device of `like`, and in its type where the images have none."""
    dtype = result_type(images, like)
    each = [
        _cut(image, near, side == size, size)
        for image, near, side in zip(images, windows, sides, strict=True)
    ]
    return torch.stack([_as_float(moved(pixels, like.device), dtype) for pixels in each])


def _cut(
    image: Tensor | Image, windows: Int[Tensor, "M 4"], plain: bool, size: tuple[int, int]
) -> Tensor:
    """Crops (M, C, h, w) in the image's own type, on its own device."""
    pixels = image.pixels if isinstance(image, TensorImage) else image
    if not isinstance(pixels, Tensor):
        return pixels.crops(windows.cpu(), size)
    if not plain:
        return resampled_crops(pixels, windows, size)
    return cut(pixels, windows[:, :2].to(pixels.device), size)


def _as_float(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels.to(dtype).div_(255)
    return pixels.to(dtype)
