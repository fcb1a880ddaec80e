"""The weighted sums of crops as one differentiable operation; its backward pass reads the crops
again.

The candidates of an image go by the size of their windows: those of the patches' size straight into
the sums, all images at once; others by way of `resampled`. Images that are neither tensors nor hold
one are asked for crops, a bounded number at once.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal.images import Image, TensorImage
from foveal.patches import compiled, eager, resampled

Images = Tensor | Sequence[Image]


def weighted(
    images: Images,
    windows: Int[Tensor, "B M 4"],
    weights: Float[Tensor, "B K M"],
    size: tuple[int, int],
    loops: ModuleType,
) -> Float[Tensor, "B K C h w"]:
    """Sum crops: patches[b, k] = sum_m weights[b, k, m] x crop of window m of image b.

    Differentiable once, in the weights and in a float tensor of images. A second derivative and the
    transforms of `torch.func` raise PyTorch's own RuntimeError.

    Args:
        images: (B, C, H, W), or a sequence of B images.
        windows: of the candidates in reach, in each image.
        weights: of the candidates.
        size: (h, w) of a patch.
        loops: `foveal.patches.eager`, or `foveal.patches.compiled` where it takes the images.
    """
    tensor = images if isinstance(images, Tensor) else None
    patches: Tensor = _Soft.apply(  # type: ignore[no-untyped-call]
        weights, tensor, images, windows, size, loops
    )
    return patches


def fastest(images: Images) -> ModuleType:
    """The loops for these images: compiled ones on a processor, where they are to be had."""
    pixels = (_pixels(image) for image in images)
    return compiled if all(each is None or compiled.takes(each) for each in pixels) else eager


def result_type(images: Images, weights: Tensor) -> torch.dtype:
    """The type of patches: that of float tensors, else that of the weights."""
    if isinstance(images, Tensor) and images.is_floating_point():
        return images.dtype
    return weights.dtype


def _pixels(image: Tensor | Image) -> Tensor | None:
    """The tensor of an image that has one."""
    pixels = image.pixels if isinstance(image, TensorImage) else image
    return pixels.detach() if isinstance(pixels, Tensor) else None


class _Group(NamedTuple):
    """The candidates of one image whose windows have one size; all of them for want of pixels."""

    b: int
    pixels: Tensor | None  # (C, H, W)
    unit: float  # what a pixel's value 1 stands for
    members: slice | Int[Tensor, "n"]
    corners: Int[Tensor, "n 2"]
    side: tuple[int, int]


class _Soft(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weights: Float[Tensor, "B K M"],
        tensor: Tensor | None,
        images: Images,
        windows: Int[Tensor, "B M 4"],
        size: tuple[int, int],
        loops: ModuleType,
    ) -> Float[Tensor, "B K C h w"]:
        ctx.save_for_backward(weights, windows, *(() if tensor is None else (tensor,)))
        ctx.images, ctx.loops = None if tensor is not None else images, loops
        channels = images.shape[1] if isinstance(images, Tensor) else images[0].channels
        with torch.autocast(weights.device.type, enabled=False):
            dtype = result_type(images, weights)
            by = weights.detach().to(_accumulated(dtype)).contiguous()
            patches = by.new_zeros(*weights.shape[:2], channels, *size)
            _sums(loops, images, windows, by, patches)
        return patches.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K C h w"]
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        weights, windows, *tensor = ctx.saved_tensors
        images = tensor[0] if tensor else ctx.images
        to_weights = to_images = None
        with torch.autocast(weights.device.type, enabled=False):
            received = incoming.to(_accumulated(incoming.dtype)).contiguous()
            if ctx.needs_input_grad[0]:
                to_weights = torch.zeros_like(weights)
                _products(ctx.loops, images, windows, received, to_weights)
            if ctx.needs_input_grad[1]:
                to_images = torch.zeros(images.shape, dtype=received.dtype, device=images.device)
                _spread(ctx.loops, to_images, windows, weights.to(received.dtype), received)
                to_images = to_images.to(images.dtype)
        return to_weights, to_images, None, None, None, None


def _accumulated(dtype: torch.dtype) -> torch.dtype:
    """Sums of half precision are taken in single precision."""
    return dtype if dtype == torch.float64 else torch.float32


def _sums(
    loops: ModuleType, images: Images, windows: Tensor, weights: Tensor, patches: Tensor
) -> None:
    direct = list[tuple[Tensor, ...]]()
    for group in _groups(images, windows):
        out, by = patches[group.b], weights[group.b][:, group.members] * group.unit
        if group.pixels is None:
            for piece, crops in _asked(images[group.b], windows[group.b], out):
                out.flatten(1).addmm_(by[:, piece], crops)
        elif group.side == patches.shape[3:]:
            direct.append((group.pixels, group.corners, by, out))
        else:
            resampled.sums(loops, group.pixels, group.corners, group.side, by, out)
    if direct:
        loops.sums(*zip(*direct, strict=True))


def _products(
    loops: ModuleType, images: Images, windows: Tensor, patches: Tensor, dots: Tensor
) -> None:
    direct, groups = list[tuple[Tensor, ...]](), list[_Group]()
    for group in _groups(images, windows):
        incoming, into = patches[group.b], dots[group.b]
        if group.pixels is None:
            for piece, crops in _asked(images[group.b], windows[group.b], incoming):
                into[:, piece] = (incoming.flatten(1) @ crops.T).to(dots.dtype)
        elif group.side == patches.shape[3:]:
            direct.append((group.pixels, group.corners, incoming))
            groups.append(group)
        else:
            found = resampled.products(loops, group.pixels, group.corners, group.side, incoming)
            into[:, group.members] = (found * group.unit).to(dots.dtype)
    if direct:
        for group, found in zip(groups, loops.products(*zip(*direct, strict=True)), strict=True):
            dots[group.b][:, group.members] = (found * group.unit).to(dots.dtype)


def _spread(
    loops: ModuleType, images: Tensor, windows: Tensor, weights: Tensor, patches: Tensor
) -> None:
    direct = list[tuple[Tensor, ...]]()
    for group in _groups(images, windows):
        assert group.pixels is not None  # a tensor's
        each = (group.pixels, group.corners, weights[group.b][:, group.members], patches[group.b])
        if group.side == patches.shape[3:]:
            direct.append(each)
        else:
            resampled.spread(loops, *each[:2], group.side, *each[2:])
    if direct:
        loops.spread(*zip(*direct, strict=True))


def _groups(images: Images, windows: Int[Tensor, "B M 4"]) -> Iterator[_Group]:
    windows = windows.long()
    corners, sides = windows[..., :2].contiguous(), windows[..., 2:] - windows[..., :2]
    if (sides < 1).any():
        worst = windows[(sides < 1).any(dim=-1)][0].tolist()
        raise ValueError(f"windows must end after they begin: got {tuple(worst)}")
    firsts = sides[:, 0].tolist()
    alike = (sides == sides[:, :1]).flatten(1).all(dim=1).tolist()
    for b, image in enumerate(images):
        pixels = _pixels(image)
        unit = 1 / 255 if pixels is not None and pixels.dtype == torch.uint8 else 1.0
        if alike[b] or pixels is None:
            yield _Group(b, pixels, unit, slice(None), corners[b], (firsts[b][0], firsts[b][1]))
            continue
        distinct, number = torch.unique(sides[b], dim=0, return_inverse=True)
        for index, (height, width) in enumerate(distinct.tolist()):
            members = (number == index).nonzero().flatten()
            yield _Group(b, pixels, unit, members, corners[b, members], (height, width))


def _asked(image: Tensor | Image, windows: Tensor, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The crops that an image gives, as (m, C h w) of the type of patches like these."""
    assert not isinstance(image, Tensor)  # a tensor's pixels are read without asking
    at_once = max(1, eager.HELD_AT_ONCE // like[0].numel())
    for first in range(0, len(windows), at_once):
        piece = slice(first, first + at_once)
        crops = image.crops(windows[piece], (like.shape[2], like.shape[3]))
        yield piece, crops.flatten(1).to(like.dtype)
