"""Windows of another size than the patches: sums at their own size first, then resampling.

Resampling R is linear, so that for the n windows of one size

    patches[k] = sum_m weights[k, m] x R crop_m = R ( sum_m weights[k, m] x crop_m )

so K sums are resampled rather than n crops; or the n crops where these are fewer. Both are

    patches = combine R (basis crops)      combine = 1, basis = weights, or the other way round

Bilinear with antialiasing; a bounded number of pixels at once. `backend` is `compiled` or `eager`.
"""

from collections.abc import Iterator
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from foveal.patches.eager import HELD_AT_ONCE
from foveal.patches.stored import Stored

Size = tuple[int, int]


def weighted_sum(
    backend: ModuleType,
    image: Stored,
    corners: Int[Tensor, "n 2"],
    side: Size,
    weights: Float[Tensor, "K n"],
    patches: Float[Tensor, "K C h w"],
) -> None:
    """Add the windows of one size to an image's patches."""
    combine, basis = _factors(weights)
    for piece, native in _native_sums(backend, image, corners, side, basis):
        part = _resampled(native, (patches.shape[2], patches.shape[3]))
        patches.flatten(1).addmm_(combine[:, piece], part.flatten(1))


def inner_products(
    backend: ModuleType,
    image: Stored,
    corners: Int[Tensor, "n 2"],
    side: Size,
    patches: Float[Tensor, "K C h w"],
) -> Float[Tensor, "K n"]:
    """The inner products of an image's patches with the resampled windows of one size."""
    size = (patches.shape[2], patches.shape[3])
    slots, n = len(patches), len(corners)
    if n < slots:
        dots = patches.new_empty(slots, n)
        basis = torch.eye(n, dtype=patches.dtype, device=patches.device)
        for piece, native in _native_sums(backend, image, corners, side, basis):
            dots[:, piece] = patches.flatten(1) @ _resampled(native, size).flatten(1).T
        return dots
    each = [
        backend.inner_products([image], [corners], [_transposed(patches[piece], side)])[0]
        for piece in _pieces(slots, patches.shape[1], side)
    ]
    return torch.cat(each)


def scatter_add(
    backend: ModuleType,
    image: Float[Tensor, "C H W"],
    corners: Int[Tensor, "n 2"],
    side: Size,
    weights: Float[Tensor, "K n"],
    patches: Float[Tensor, "K C h w"],
) -> None:
    """Add to an image's gradient what its windows of one size receive from the patches."""
    combine, basis = _factors(weights)
    for piece in _pieces(len(basis), patches.shape[1], side):
        mixed = torch.einsum("kr,kchw->rchw", combine[:, piece], patches)
        backend.scatter_add([image], [corners], [basis[piece]], [_transposed(mixed, side)])


def _factors(weights: Float[Tensor, "K n"]) -> tuple[Float[Tensor, "K r"], Float[Tensor, "r n"]]:
    """Combine and basis, whose product is the weights, with as few rows r as possible."""
    identity = torch.eye(min(weights.shape), dtype=weights.dtype, device=weights.device)
    return (weights, identity) if weights.shape[1] < weights.shape[0] else (identity, weights)


def _native_sums(
    backend: ModuleType,
    image: Stored,
    corners: Int[Tensor, "n 2"],
    side: Size,
    basis: Float[Tensor, "r n"],
) -> Iterator[tuple[slice, Float[Tensor, "_r C _H _W"]]]:
    """Sums of crops by the rows of the basis, at the windows' own size."""
    channels = image.pixels.shape[0]
    for piece in _pieces(len(basis), channels, side):
        native = basis.new_zeros(len(basis[piece]), channels, *side)
        backend.weighted_sum([image], [corners], [basis[piece]], [native])
        yield piece, native


def _pieces(rows: int, channels: int, side: Size) -> Iterator[slice]:
    at_once = max(1, HELD_AT_ONCE // (channels * side[0] * side[1]))
    for first in range(0, rows, at_once):
        yield slice(first, first + at_once)


def _resampled(native: Float[Tensor, "r C _H _W"], size: Size) -> Float[Tensor, "r C h w"]:
    return interpolate(native, size, mode="bilinear", antialias=True)


def _transposed(patches: Float[Tensor, "r C h w"], side: Size) -> Float[Tensor, "r C _H _W"]:
    """The transpose of resampling: the gradient that windows receive from patches."""
    with torch.enable_grad():
        native = patches.new_zeros(*patches.shape[:2], *side, requires_grad=True)
        output = _resampled(native, (patches.shape[2], patches.shape[3]))
        (gradient,) = torch.autograd.grad(output, native, patches)
    return gradient.contiguous()
