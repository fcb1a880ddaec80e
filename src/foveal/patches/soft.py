"""Weighted sums of crops as one differentiable operation; its backward pass reads the crops again.

The candidates of an image are grouped by the size of their windows. Windows of the patches' size go
straight into the sums, all images at once; others through `resampled`. Images without a tensor of
pixels give their crops, see `in_parts`.

All work is done on the device of the weights. Pixels elsewhere move there for the time of a pass,
or only their crops where these are fewer bytes.
"""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal._float64 import has_float64
from foveal._precision import full_precision
from foveal.images import Images
from foveal.patches import compiled, eager, gpu, in_parts, resampled
from foveal.patches.stored import (
    Group,
    Side,
    common_sides,
    groups,
    hold,
    oriented,
    pixels_of,
    reoriented,
)


def weighted_crops(
    images: Images,
    windows: Int[Tensor, "B M 4"],
    weights: Float[Tensor, "B K M"],
    size: tuple[int, int],
    backend: ModuleType,
    sides: Sequence[Side | None] | None = None,
) -> Float[Tensor, "B K C h w"]:
    """Sum crops: patches[b, k] = sum_m weights[b, k, m] x crop of window m of image b.

    Differentiable once, in the weights and in a float tensor of images. A second derivative and the
    transforms of `torch.func` raise PyTorch's own RuntimeError.

    Args:
        images: (B, C, H, W) on the device of the weights, or a sequence of B images on any.
        windows: of the active candidates in each image, on the device of the weights.
        weights: of the candidates.
        size: (h, w) of a patch.
        backend: `foveal.patches.eager`, `foveal.patches.compiled` where it supports the images, or
            `foveal.patches.gpu`.
        sides: see `common_sides`; None: found out from the windows.
    """
    if sides is None:
        sides = common_sides(windows, len(windows))
    tensor = images if isinstance(images, Tensor) else None
    patches: Tensor = _Soft.apply(  # type: ignore[no-untyped-call]
        weights, tensor, images, windows, size, backend, sides
    )
    return patches


def fastest_backend(images: Images, device: torch.device) -> ModuleType:
    """The fastest backend for these images on a device."""
    if gpu.suits(device):
        return gpu
    pixels = [pixels_of(image) for image in images]
    types = {each.dtype for each in pixels if each is not None}
    return compiled if all(compiled.supports(device, dtype) for dtype in types) else eager


def result_type(images: Images, like: Tensor) -> torch.dtype:
    """The type of patches: that of float tensors, else that of `like`."""
    types = {image.dtype if isinstance(image, Tensor) else torch.uint8 for image in images}
    if all(dtype.is_floating_point for dtype in types):
        dtype = functools.reduce(torch.promote_types, types)
        return dtype if dtype != torch.float64 or has_float64(like.device) else torch.float32
    return like.dtype


class _Soft(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weights: Float[Tensor, "B K M"],
        tensor: Tensor | None,
        images: Images,
        windows: Int[Tensor, "B M 4"],
        size: tuple[int, int],
        backend: ModuleType,
        sides: Sequence[Side | None],
    ) -> Float[Tensor, "B K C h w"]:
        ctx.save_for_backward(weights, windows, *(() if tensor is None else (tensor,)))
        ctx.images, ctx.backend = None if tensor is not None else images, backend
        ctx.sides = sides
        first = images[0]
        channels = first.shape[0] if isinstance(first, Tensor) else first.channels
        with full_precision(weights.device):
            dtype = result_type(images, weights)
            factors = weights.detach().to(_sum_type(dtype)).contiguous()
            patches = factors.new_zeros(*weights.shape[:2], channels, *size)
            _weighted_sum(backend, images, windows, sides, factors, patches)
        return patches.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Float[Tensor, "B K C h w"]) -> tuple[Tensor | None, ...]:
        weights, windows, *tensor = ctx.saved_tensors
        images = tensor[0] if tensor else ctx.images
        to_weights = to_images = None
        with full_precision(weights.device):
            incoming = incoming.to(_sum_type(incoming.dtype)).contiguous()
            if ctx.needs_input_grad[0]:
                to_weights = torch.zeros_like(weights)
                factors = weights.to(incoming.dtype)
                _inner_products(
                    ctx.backend, images, windows, ctx.sides, factors, incoming, to_weights
                )
            if ctx.needs_input_grad[1]:
                to_images = torch.zeros(images.shape, dtype=incoming.dtype, device=images.device)
                factors = weights.to(incoming.dtype)
                _scatter_add(ctx.backend, to_images, windows, ctx.sides, factors, incoming)
                to_images = to_images.to(images.dtype)
        return to_weights, to_images, None, None, None, None, None


def _sum_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums accumulate: at least float32."""
    return dtype if dtype == torch.float64 else torch.float32


def _weighted_sum(
    backend: ModuleType,
    images: Images,
    windows: Tensor,
    sides: Sequence[Side | None],
    weights: Tensor,
    patches: Tensor,
) -> None:
    if backend is gpu and (placed := gpu.place(images, sides, patches)) is not None:
        gpu.placed_sum(placed, windows, weights, patches)
        return
    held = hold(images, patches, windows.shape[1])
    sums = [reoriented(*each) for each in zip(images, held, patches, strict=True)]
    direct = list[tuple[Any, ...]]()
    for group in groups(images, held, windows, sides):
        out, factors = sums[group.b], weights[group.b][:, group.members]
        if group.stored is None:
            in_parts.weighted_sum(images[group.b], windows[group.b], factors, out)
        elif group.side == out.shape[2:]:
            direct.append((group.stored, group.corners, factors, out))
        else:
            resampled.weighted_sum(backend, group.stored, group.corners, group.side, factors, out)
    if direct:
        backend.weighted_sum(*zip(*direct, strict=True))
    for image, stored, found, out in zip(images, held, sums, patches, strict=True):
        if found is not out:
            out.copy_(oriented(image, stored, found))


def _inner_products(
    backend: ModuleType,
    images: Images,
    windows: Tensor,
    sides: Sequence[Side | None],
    weights: Tensor,
    patches: Tensor,
    into: Tensor,
) -> None:
    if backend is gpu and (placed := gpu.place(images, sides, patches)) is not None:
        gpu.placed_products(placed, windows, patches, into)
        return
    held = hold(images, patches, windows.shape[1])
    each = [reoriented(*each) for each in zip(images, held, patches, strict=True)]
    direct, direct_groups = list[tuple[Any, ...]](), list[Group]()
    for group in groups(images, held, windows, sides):
        incoming, dots = each[group.b], into[group.b]
        if group.stored is None:
            products = in_parts.inner_products(
                images[group.b], windows[group.b], weights[group.b], incoming
            )
            dots += products.to(dots.dtype)
        elif group.side == incoming.shape[2:]:
            direct.append((group.stored, group.corners, incoming))
            direct_groups.append(group)
        else:
            products = resampled.inner_products(
                backend, group.stored, group.corners, group.side, incoming
            )
            dots[:, group.members] += products.to(dots.dtype)
    if direct:
        found = backend.inner_products(*zip(*direct, strict=True))
        for group, products in zip(direct_groups, found, strict=True):
            into[group.b][:, group.members] += products.to(into.dtype)


def _scatter_add(
    backend: ModuleType,
    images: Tensor,
    windows: Tensor,
    sides: Sequence[Side | None],
    weights: Tensor,
    patches: Tensor,
) -> None:
    direct = list[tuple[Tensor, ...]]()
    for group in groups(images, hold(images, patches, windows.shape[1]), windows, sides):
        image = images[group.b]
        each = (image, group.corners, weights[group.b][:, group.members], patches[group.b])
        if group.side == patches.shape[3:]:
            direct.append(each)
        else:
            resampled.scatter_add(backend, *each[:2], group.side, *each[2:])
    if direct:
        backend.scatter_add(*zip(*direct, strict=True))
