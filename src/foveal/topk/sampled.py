"""The perturbed Top-K from samples of the noise, with four gradients.

Only the selected indices (B, S, K) are kept, neither one-hots of length N nor the noise: the
backward pass draws the same noise again from a saved seed. W is the mean of the samples; with G the
incoming gradient, Y one sample, z its noise and T its selected set, the gradients per sample are

    score_function    (<G, Y> - mean of <G, Y> over the other samples) z / sigma
    diagonal          g_i = sum_k G[k,i] Y[k,i] z_i / sigma                             (biased)
    diagonal_centred  the same, with the mean of G under W subtracted from its rows    (biased)
    conditional       g_i = phi((s_i - tau_i) / sigma) / sigma (V_in(i) - V_out(i))

where tau_i is the k-th largest of the others' noisy scores and V_in, V_out are the values of <G,
.> of the selected set with i and without it: the expectation over z_i, given all other noise, in
closed form. (In simulation: smoothed perturbation analysis, Gong & Ho 1987; Fu & Hu 1997.)
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal.topk.active_candidates import find_active
from foveal.topk.selection import Selection

# Largest number of elements (B, S, N) of the noise drawn at once.
_DRAWN_AT_ONCE = 2**21
# |s_i - tau_i| / sigma beyond which the density is below 1e-6 of its peak.
_REACH = 5.3


def sampled(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float,
    estimator: str,
    samples: int,
    generator: torch.Generator | None,
) -> Selection:
    """The mean selection over draws of the noise; see `foveal.topk.perturbed` for the arguments.

    Inactive candidates, which have no chance of being selected, get no noise.
    """
    fixed = scores.detach().float() if scores.dtype.itemsize < 4 else scores.detach()
    inside, _, count = find_active(fixed, k, sigma)
    beyond = torch.arange(inside.shape[1], device=count.device) >= count[:, None]
    near = scores.gather(1, inside).masked_fill(beyond, -torch.inf)  # (B, R)
    fixed = near.detach().to(fixed.dtype)
    seed = int(torch.randint(2**62, (), generator=generator, device=_device(generator)))
    selected, reached = [], torch.zeros_like(fixed, dtype=torch.bool)
    for noise in _noise(fixed, samples, seed):
        best = (fixed[:, None] + sigma * noise).topk(min(k + 1, fixed.shape[1]), dim=2)
        selected.append(best.indices[..., :k].sort(dim=2).values)
        if estimator == "conditional":
            lowest = best.values[..., -1].amin(dim=1, keepdim=True)
            reached |= fixed > lowest - _REACH * sigma
    index = torch.cat(selected, dim=1)  # (B, S, K)
    reached.scatter_(1, index.flatten(1), True)
    candidates, real, place = _compact(reached)
    position = place.gather(1, index.flatten(1)).view_as(index)
    weights: Tensor = _Mean.apply(  # type: ignore[no-untyped-call]
        near, candidates, real, position, k, sigma, estimator, seed
    )
    return Selection(inside.gather(1, candidates), weights)


def _device(generator: torch.Generator | None) -> torch.device | str:
    return generator.device if generator is not None else "cpu"


def _noise(
    scores: Float[Tensor, "B N"], samples: int, seed: int
) -> Iterator[Float[Tensor, "B S N"]]:
    """Standard normal noise in pieces; the same for the same seed."""
    source = torch.Generator(scores.device).manual_seed(seed)
    at_once = max(1, _DRAWN_AT_ONCE // scores.numel())
    for first in range(0, samples, at_once):
        shape = (scores.shape[0], min(at_once, samples - first), scores.shape[1])
        yield torch.randn(shape, generator=source, dtype=scores.dtype, device=scores.device)


def _compact(
    reached: Bool[Tensor, "B N"],
) -> tuple[Int[Tensor, "B M"], Bool[Tensor, "B M"], Int[Tensor, "B N"]]:
    """The marked candidates, short rows padded with 0; which are real; the position of each one."""
    place = reached.cumsum(dim=1) - 1  # (B, N)
    image, number = reached.nonzero(as_tuple=True)
    candidates = torch.zeros(
        reached.shape[0], int(place.max()) + 1, dtype=torch.int64, device=reached.device
    )
    candidates[image, place[image, number]] = number
    real = torch.arange(candidates.shape[1], device=reached.device) < place[:, -1:] + 1
    return candidates, real, place


class _Mean(torch.autograd.Function):
    """W (B, K, M) as the mean of the samples, and the four gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Float[Tensor, "B N"],
        candidates: Int[Tensor, "B M"],
        real: Bool[Tensor, "B M"],
        position: Int[Tensor, "B S K"],
        k: int,
        sigma: float,
        estimator: str,
        seed: int,
    ) -> Float[Tensor, "B K M"]:
        batch, samples, _ = position.shape
        # Integers are added without rounding: a certain selection has weight 1 exactly.
        wide = torch.promote_types(scores.dtype, torch.float32)
        counts = torch.zeros(batch, k, candidates.shape[1], dtype=wide, device=scores.device)
        one = torch.ones((), dtype=wide, device=scores.device).expand(batch, k, samples)
        counts.scatter_add_(2, position.transpose(1, 2), one)
        weights = (counts / samples).to(scores.dtype)
        ctx.save_for_backward(scores, candidates, real, position, weights)
        ctx.sigma, ctx.estimator, ctx.seed = sigma, estimator, seed
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Float[Tensor, "B K M"]) -> tuple[Tensor | None, ...]:
        scores, candidates, real, position, weights = ctx.saved_tensors
        if ctx.estimator in ("conditional", "diagonal_centred"):
            # No change but rounding for `conditional`; removes most of the bias of `diagonal`.
            incoming = incoming - (incoming * weights).sum(dim=2, keepdim=True)
        wide = scores.float() if scores.dtype.itemsize < 4 else scores
        incoming = incoming.to(wide.dtype) * real[:, None]
        value = incoming.gather(2, position.transpose(1, 2)).transpose(1, 2)  # (B, S, K)
        gradient = torch.zeros_like(wide)
        total = value.sum(dim=2)  # (B, S): <G, Y>
        samples, first = position.shape[1], 0
        for noise in _noise(wide, samples, ctx.seed):
            piece = slice(first, first + noise.shape[1])
            first += noise.shape[1]
            if ctx.estimator == "conditional":
                noisy = wide[:, None] + ctx.sigma * noise
                gradient += _conditional(wide, noisy, candidates, real, incoming, ctx.sigma)
            elif ctx.estimator == "score_function":
                baseline = (total.sum(dim=1, keepdim=True) - total) / max(samples - 1, 1)
                surplus = (total - baseline)[:, piece, None]
                gradient += (surplus * noise).sum(dim=1) / ctx.sigma
            else:
                number = candidates.gather(1, position[:, piece].flatten(1))  # (B, S K)
                own = noise.gather(2, number.view_as(position[:, piece])).flatten(1)
                part = value[:, piece].flatten(1) * own / ctx.sigma
                gradient.scatter_add_(1, number, part)
        return (gradient / samples).to(scores.dtype), *(None,) * 7


def _conditional(
    scores: Float[Tensor, "B N"],
    noisy: Float[Tensor, "B S N"],
    candidates: Int[Tensor, "B M"],
    real: Bool[Tensor, "B M"],
    incoming: Float[Tensor, "B K M"],
    sigma: float,
) -> Float[Tensor, "B N"]:
    """The sum over samples of phi((s_i - tau_i) / sigma) / sigma (V_in(i) - V_out(i))."""
    k, n = incoming.shape[1], scores.shape[1]
    if k == n:
        return torch.zeros_like(scores)
    best = noisy.topk(k + 1, dim=2)
    kth, following = best.values[..., k - 1 : k], best.values[..., k:]  # (B, S, 1)
    dense = torch.zeros(scores.shape[0], k, n, dtype=scores.dtype, device=scores.device)
    dense.scatter_add_(2, candidates[:, None].expand_as(incoming), incoming)

    # i outside the set: it replaces the k-th, among the k - 1 kept ones in index order.
    kept = best.indices[..., : k - 1].sort(dim=2).values  # (B, S, K-1)
    before, after = _value_around(dense, kept, 0), _value_around(dense, kept, 1)
    before = torch.cat((torch.zeros_like(kth), before.cumsum(dim=2)), dim=2)  # (B, S, K)
    after = torch.cat((after.flip(2).cumsum(dim=2).flip(2), torch.zeros_like(kth)), dim=2)
    numbers = candidates[:, None].expand(-1, noisy.shape[1], -1).contiguous()  # (B, S, M)
    slot = torch.searchsorted(kept, numbers)  # (B, S, M): kept ones before i
    own = incoming[:, None].expand(-1, noisy.shape[1], -1, -1).gather(2, slot[:, :, None])
    inside = before.gather(2, slot) + own[:, :, 0] + after.gather(2, slot)

    # i in the set: without it the (k+1)-th enters. All sets that lack one of the k + 1 best.
    union, order = best.indices.sort(dim=2)  # (B, S, K+1)
    ahead = _value_around(dense, union[..., :-1], 0).cumsum(dim=2)
    behind = _value_around(dense, union[..., 1:], 0).flip(2).cumsum(dim=2).flip(2)
    zero = torch.zeros_like(kth)
    without = torch.cat((zero, ahead), dim=2) + torch.cat((behind, zero), dim=2)  # (B, S, K+1)
    whole = without.gather(2, (order == k).int().argmax(dim=2, keepdim=True))  # (B, S, 1): <G, Y>

    near = scores.gather(1, candidates)[:, None]  # (B, 1, M)
    inner = _normal(near - kth, sigma) * (inside - whole) * real[:, None]  # (B, S, M)
    gradient = torch.zeros_like(scores).scatter_add_(1, candidates, inner.sum(dim=1))
    # The above does not hold for the k + 1 best: replace it with their own.
    repeated = torch.zeros_like(noisy).scatter_add_(2, numbers, inner).gather(2, union)
    theirs = _normal(_at(scores, union) - following, sigma) * (whole - without)
    last = order == k
    theirs = torch.where(last, repeated, theirs)
    return gradient.scatter_add_(1, union.flatten(1), (theirs - repeated).flatten(1))


def _value_around(
    dense: Float[Tensor, "B K N"], index: Int[Tensor, "B S L"], shift: int
) -> Float[Tensor, "B S L"]:
    """G[j + shift, index_j] for the j-th of a row of sorted numbers."""
    slots = torch.arange(index.shape[2], device=index.device) + shift
    flat = slots * dense.shape[2] + index  # (B, S, L)
    return dense.flatten(1).gather(1, flat.flatten(1)).view(index.shape)


def _at(scores: Float[Tensor, "B N"], index: Int[Tensor, "B S L"]) -> Float[Tensor, "B S L"]:
    return scores.gather(1, index.flatten(1)).view(index.shape)


def _normal(difference: Tensor, sigma: float) -> Tensor:
    z = difference / sigma
    return torch.exp(-0.5 * z * z) / (sigma * math.sqrt(2 * math.pi))
