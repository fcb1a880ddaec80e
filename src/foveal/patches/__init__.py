"""From a selection to patches (B, K, C, h, w): what each slot sees at full resolution.

    patches[b, j] = sum_m weights[b, j, m] x crop of image b at candidate m

Only candidates in reach are read, and no crop is kept for the backward pass, which reads again. A
hard selection is plain slicing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Image, TensorImage
from foveal.patches.eager import crops
from foveal.patches.soft import fastest, result_type, weighted
from foveal.topk import Selection

__all__ = ["extract"]


def extract(
    images: Tensor | Sequence[Image],
    windows: Int[Tensor, "*B N 4"],
    selection: Selection,
    size: tuple[int, int],
) -> Float[Tensor, "B K C h w"]:
    """Cut out what the slots look at, differentiable in the weights and in a float tensor of
    images.

    Time and memory, forward and backward, follow the candidates in reach, never all N: the crops of
    10 slots cost about as much as their products with the weights, see `foveal.patches.compiled`.
    Differentiable once: a second derivative and `torch.func` raise a RuntimeError.

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
    if selection.is_hard and not (isinstance(images, Tensor) and images.requires_grad):
        looks = [_cut(image, each, size) for image, each in zip(images, near, strict=True)]
        dtype = result_type(images, selection.weights)
        return torch.stack([_as_float(each, dtype) for each in looks])
    return weighted(images, near, selection.weights, size, fastest(images))


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


def _cut(image: Tensor | Image, windows: Int[Tensor, "K 4"], size: tuple[int, int]) -> Tensor:
    """Crops (K, C, h, w) in the image's own type."""
    if isinstance(image, TensorImage):
        image = image.pixels
    if not isinstance(image, Tensor):
        return image.crops(windows, size)
    sides = windows[:, 2:] - windows[:, :2]
    if (sides != sides.new_tensor(size)).any():
        return TensorImage(image).crops(windows, size)
    return crops(image, windows[:, :2], size)


def _as_float(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels.to(dtype).div_(255)
    return pixels.to(dtype)
