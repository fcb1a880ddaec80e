"""The smoothed Top-K by quadrature in plain PyTorch, on any device with float64.

The reference for the compiled loops and the Triton kernel, and the fallback without them. The
mathematics is in `foveal.topk.exact`. Everything is in units of sigma, relative to the k-th
largest score, and in float64.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveal.topk.active_candidates import find_active

# The rows of W sum to one up to the error of the gradient, so they decide the number of nodes.
ROW_SUM_TOLERANCE = 1e-8
# Nodes come in bundles of LANES: 1, 2, 4, ... up to BUNDLES bundles.
LANES, BUNDLES = 16, 16

_TINY = 1e-10  # smaller weights become 0, which saves their crops
_FAR = 25.0  # Phi(-25) is negligible against 1
_LEAST = 2.0**-53  # a smaller 1 - p is negligible against 1
# Memory for the states of the (image, node) pairs of one pass.
_STATE_BYTES = 16 * 2**20


def weights(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float,
    *,
    sum_up: Callable[[Tensor, Tensor, Tensor, range, int], Tensor] | None = None,
    first: int = 1,
) -> tuple[Int[Tensor, "B M"], Float[Tensor, "B K M"], Float[Tensor, "B 4"], Int[Tensor, "B 2"]]:
    """The active candidates, their weights, and what the gradient needs.

    Args:
        scores: finite.
        k: number of slots.
        sigma: standard deviation of the noise.
        sum_up: instead of `_weight_sums`.
        first: bundles of nodes to begin with, a power of two.

    Returns:
        candidates, weights: of the selection.
        plan: see `find_active`.
        counts: number of active candidates, and of bundles of nodes.
    """
    sum_up = sum_up or _weight_sums
    candidates, plan, active = find_active(scores, k, sigma)
    x = _active_scores(scores, sigma, candidates, plan, active)
    sums = x.new_zeros(x.shape[0], k, x.shape[1])
    bundles = torch.zeros_like(active)
    unfinished, done = torch.arange(x.shape[0], device=x.device), 0
    while len(unfinished) and done < BUNDLES:
        until = max(first, 2 * done)
        sums[unfinished] += sum_up(x, plan, unfinished, range(done, until), k)
        done = until
        bundles[unfinished] = done
        step = (plan[unfinished, 2] - plan[unfinished, 1]) / (LANES * done)
        error = (step[:, None] * sums[unfinished].sum(dim=2) - 1).abs().amax(dim=1)  # (b,)
        unfinished = unfinished[error >= ROW_SUM_TOLERANCE]
    step = (plan[:, 2] - plan[:, 1]) / (LANES * bundles)
    value = sums * step[:, None, None]
    value = value.masked_fill(value < _TINY, 0).to(scores.dtype)
    return candidates, value, plan, torch.stack((active, bundles), dim=1)


def gradients(
    incoming: Float[Tensor, "B K M"],
    scores: Float[Tensor, "B N"],
    sigma: float,
    candidates: Int[Tensor, "B M"],
    weights: Float[Tensor, "B K M"],
    plan: Float[Tensor, "B 4"],
    counts: Int[Tensor, "B 2"],
    *,
    sum_up: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None,
) -> tuple[Float[Tensor, "B N"], Float[Tensor, " B"]]:
    """The gradients with respect to the scores, and per image with respect to sigma.

    The arguments after sigma are what `weights` returned; `sum_up` takes the place of
    `_gradient_sums`.
    """
    sum_up = sum_up or _gradient_sums
    x = _active_scores(scores, sigma, candidates, plan, counts[:, 0])
    incoming = incoming.double()
    # Rows of W sum to one, so a constant per slot changes nothing but the rounding.
    incoming = incoming - (incoming * weights).sum(dim=2, keepdim=True)
    step = (plan[:, 2] - plan[:, 1]) / (LANES * counts[:, 1]) / sigma
    gradient = sum_up(x, plan, counts[:, 1], incoming) * step[:, None]  # (B, M)
    into = torch.zeros(scores.shape, dtype=x.dtype, device=x.device)
    into.scatter_add_(1, candidates, gradient)
    return into.to(scores.dtype), -(gradient * x).sum(dim=1)


@cache
def shares(device: torch.device) -> Float[Tensor, "bundles lanes"]:
    """The thresholds of all bundles, as parts of the interval from its lower end.

    Bundle 0 has LANES even steps over the interval, bundle 1 the points halfway between, bundles 2
    and 3 those halfway between all of these, and so on: after each power of two, all thresholds so
    far form one trapezoidal rule. The integrand vanishes smoothly at both ends, so the rule
    converges faster than any power (Trefethen & Weideman, SIAM Review 2014).
    """
    rows = []
    for bundle in range(BUNDLES):
        level = 1 << (max(bundle, 1).bit_length() - 1)  # bundles level .. 2 level - 1 refine
        step = 1 / (LANES * level)
        start = {0: step / 2, 1: 0.0}.get(bundle, step / 2 + step * (bundle - level) * LANES)
        rows.append([start + step * q for q in range(LANES)])
    return torch.tensor(rows, dtype=torch.float64, device=device)


def _weight_sums(
    x: Float[Tensor, "B M"],
    plan: Float[Tensor, "B 4"],
    images: Int[Tensor, " b"],
    bundles: range,
    k: int,
) -> Float[Tensor, "b K M"]:
    """The integrand of W summed over the nodes of some bundles, for some images."""
    sums = x.new_zeros(k, x.shape[1], x.shape[0])
    for image, t in _nodes(images, plan, bundles, x.shape[1], 2 * k):
        sums.index_add_(2, image, _weight_integrand(x.T[:, image] - t, k))
    return sums[..., images].permute(2, 0, 1)


def _gradient_sums(
    x: Float[Tensor, "B M"],
    plan: Float[Tensor, "B 4"],
    bundles: Int[Tensor, " B"],
    incoming: Float[Tensor, "B K M"],
) -> Float[Tensor, "B M"]:
    """d<incoming, W> / dx summed over the nodes of each image's own number of bundles."""
    by_candidate = incoming.permute(1, 2, 0)  # (K, M, B)
    sums = torch.zeros_like(x.T)  # (M, B)
    counts = bundles.tolist()
    for count in sorted(set(counts)):
        same = [image for image, own in enumerate(counts) if own == count]
        images = torch.tensor(same, device=x.device)
        for image, t in _nodes(images, plan, range(count), x.shape[1], 4 * incoming.shape[1]):
            integrand = _gradient_integrand(x.T[:, image] - t, by_candidate[..., image])
            sums.index_add_(1, image, integrand)
    return sums.T


def _active_scores(
    scores: Float[Tensor, "B N"],
    sigma: float,
    candidates: Int[Tensor, "B M"],
    plan: Float[Tensor, "B 4"],
    active: Int[Tensor, " B"],
) -> Float[Tensor, "B M"]:
    """The active scores in units of sigma; padding is far below the threshold."""
    x = (scores.gather(1, candidates).double() - plan[:, :1]) / sigma
    real: Bool[Tensor, "B M"] = torch.arange(x.shape[1], device=x.device) < active[:, None]
    return torch.where(real, x, -_FAR).clamp(-_FAR, _FAR)


def _nodes(
    images: Int[Tensor, " b"],
    plan: Float[Tensor, "B 4"],
    bundles: range,
    candidates: int,
    state: int,
) -> Iterator[tuple[Int[Tensor, " P"], Float[Tensor, " P"]]]:
    """Pairs of an image and a threshold t, in pieces whose states fit into memory."""
    share = shares(plan.device)[bundles.start : bundles.stop].flatten()
    low, high = plan[images, 1:3, None].unbind(dim=1)
    t = low + (high - low) * share  # (b, P / b)
    image = images.repeat_interleave(len(share))
    at_once = max(1, _STATE_BYTES // (2 * candidates * state * 8))
    return zip(torch.split(image, at_once), torch.split(t.flatten(), at_once), strict=True)


def _weight_integrand(z: Float[Tensor, "M P"], k: int) -> Float[Tensor, "K M P"]:
    """The integrand of W at each pair's threshold."""
    p, f = torch.special.ndtr(z), density(z)
    (a, d), (b, d_after) = (each.unbind(dim=1) for each in _states(z, f, k, None))  # (K, M, P)
    mass = f * a * b
    mass[1:].addcmul_(p * d[:-1], b[1:])
    mass[:-1].addcmul_(p * a[:-1], d_after[1:])
    return mass


def _gradient_integrand(z: Float[Tensor, "M P"], g: Float[Tensor, "K M P"]) -> Float[Tensor, "M P"]:
    """d<G, W> / dx at each pair's threshold.

    With X_out, X_above, X_at the values when i is left out, above the threshold and at it, the
    integrand is (1 - p_i) X_out + p_i X_above + f_i X_at; dp_i = f_i dx_i, df_i = -z_i f_i dx_i.
    """
    f = density(z)
    before, after = _states(z, f, g.shape[0], g)  # (K, 4, M, P)
    (a, d, v, e), (b, m, u, w) = before.unbind(dim=1), after.unbind(dim=1)
    out = (d * u).addcmul_(e, b).addcmul_(a, w).addcmul_(v, m).sum(dim=0)
    upto = torch.addcmul(v, g, a)  # the value of the slots up to and with i's own
    at = (upto * b).addcmul_(a, u).sum(dim=0)
    a, d, e, upto, following = a[:-1], d[:-1], e[:-1], upto[:-1], g[1:]
    b, m, u, w = (each[1:] for each in (b, m, u, w))
    above = upto.mul_(m).addcmul_(a, w).addcmul_(d, u)
    above = above.addcmul_(torch.addcmul(e, following, d), b).sum(dim=0)
    return (above - out - z * at) * f


def density(z: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
    """The density of the standard normal distribution."""
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _states(
    z: Float[Tensor, "M P"], f: Float[Tensor, "M P"], k: int, g: Float[Tensor, "K M P"] | None
) -> tuple[Float[Tensor, "K S M P"], Float[Tensor, "K S M P"]]:
    """Both recurrences at once: the states before each candidate, and after it with c reversed.

    The states are (A, D), or with g, the incoming gradient, (A, D, V, E). D is A' and E is V' of
    `foveal.topk.exact`, moved by one: entry c is for c + 1 chosen, of which one is the threshold.

    One step per c over all candidates, instead of one per candidate over all c: divided by the
    product of 1 - p over the candidates so far, entry c of a state is a cumulative sum over entry
    c - 1. With many slots the product restarts every few candidates, so that no quotient overflows.

    Returns:
        before: entry c is for c others chosen before candidate i.
        after: entry c is for k-1-c others chosen after candidate i.
    """
    candidates, pairs = z.shape
    left_out = torch.special.ndtr(-z).clamp_(min=_LEAST)  # 1 - p
    odds, hazard, log_left_out = torch.special.ndtr(z) / left_out, f / left_out, left_out.log_()
    odds, hazard, log_left_out = (
        torch.stack((each, each.flip(0)), dim=1) for each in (odds, hazard, log_left_out)
    )  # (M, 2, P)
    if g is not None:  # seen from the back, the c-th chosen fills slot k-1-c
        g = torch.stack((g, g.flip(0, 1)), dim=2)  # (K, M, 2, P)
    # One more row of candidates, for the state after the last.
    states = z.new_empty(k, 2 if g is None else 4, candidates + 1, 2, pairs)
    states[:, :, 0] = 0
    states[0, 0, 0] = 1
    block = _block(candidates, k)
    for first in range(0, candidates, block):
        part = slice(first, min(first + block, candidates))
        rows = states[:, :, first : part.stop + 1]
        _divided(rows, odds[part], hazard[part], None if g is None else g[:, part])
        rows[:, :, 1:] *= log_left_out[part].cumsum(dim=0).exp_()
    states = states[:, :, :-1]
    return states[:, :, :, 0], states[:, :, :, 1].flip(0, 2)


def _block(candidates: int, k: int) -> int:
    """How many candidates may share a product: (candidates / _LEAST)^(k-1) must not overflow."""
    digits = (k - 1) * (math.log10(candidates) - math.log10(_LEAST))
    return candidates if digits < 300 else 16


def _divided(
    rows: Float[Tensor, "K S M 2 P"],
    odds: Float[Tensor, "m 2 P"],
    hazard: Float[Tensor, "m 2 P"],
    g: Float[Tensor, "K m 2 P"] | None,
) -> None:
    """Fill in the states after each candidate from those before the first, divided by the product
    of 1 - p over the candidates passed; m = M - 1 of them."""
    before, after = rows[:, :, :-1], rows[:, :, 1:]
    none = torch.zeros_like(before[0, 0])
    for c in range(len(rows)):
        (a, d, *values), last = rows[c], before[c - 1] if c else [none] * 4
        torch.mul(odds, last[0], out=after[c, 0])
        a.cumsum_(dim=0)
        torch.mul(odds, last[1], out=after[c, 1]).addcmul_(hazard, a[:-1])
        d.cumsum_(dim=0)
        if g is not None:
            v, e = values
            torch.addcmul(last[2], g[c - 1], last[0], out=after[c, 2]).mul_(odds)
            v.cumsum_(dim=0)
            torch.addcmul(last[3], g[c], last[1], out=after[c, 3]).mul_(odds)
            after[c, 3].addcmul_(hazard, torch.addcmul(v[:-1], g[c], a[:-1]))
            e.cumsum_(dim=0)
