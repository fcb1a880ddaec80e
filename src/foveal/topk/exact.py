"""The perturbed Top-K in closed form up to one integral: no sampling, no noise, no bias.

In units of sigma, let x_i be the scores, p_i(t) = Phi(x_i - t) the chance that candidate i lands
above t and f_i(t) = phi(x_i - t) its density at t. Integrate over the *threshold* t, the value of
the k-th largest: exactly one chosen candidate stands at t, the k - 1 others above it. Candidate i
fills slot j when j - 1 of the chosen ones come before it and k - j after it. Over the candidates
before i, let A_i(c) be the chance that c of them are above t and none stands at t, A'_i(c) the
density that c are chosen and one of these stands at t:

    A_{i+1}(c)  = (1 - p_i) A_i(c)  + p_i A_i(c-1)
    A'_{i+1}(c) = (1 - p_i) A'_i(c) + p_i A'_i(c-1) + f_i A_i(c-1)

and B, B' the same from the other end. Then

    W[j, i] = int dt  f_i A_i(j-1) B_i(k-j) + p_i ( A'_i(j-1) B_i(k-j) + A_i(j-1) B'_i(k-j) ).

For the gradient of <G, W> the recurrences also carry V, V', the same chances times the sum of G
over the slots filled so far. The integrand is linear in (1 - p_i, p_i, f_i) for every i; its three
coefficients, the value with i left out, above and at the threshold, give d<G, W> / dx_i.

The inclusion probabilities alone are known from order sampling (Aires 1999; Traat et al. 2004).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal.topk.selection import Selection

# Chance of a threshold outside the interval of integration, and of a choice out of reach.
_NEGLIGIBLE = 1e-9
# Distances below the lowest threshold, in sigmas, at which candidates may be left out.
_CUTS = (9.0, 8.0, 7.5, 7.0, 6.75, 6.5, 6.25, 6.0, 5.75, 5.5, 5.25, 5.0)
# The recurrences keep their states for as many (image, node) pairs at once as fit into this.
_STATE_BYTES = 24 * 2**20
# The rows' sums err by as much as the gradient does: they choose the nodes, image by image.
_NODES = (24, 48, 128)
_ROW_SUM_TOLERANCE = 1e-7


def exact(scores: Float[Tensor, "B N"], k: int, sigma: float | Float[Tensor, ""]) -> Selection:
    """The expected selection under Gaussian noise and its gradient, by quadrature.

    Time O(R K Q) and memory O(R K) for R candidates in reach and Q nodes: 24, or 48 or 128 where
    the rows do not yet sum to one. Computed in float64 whatever the type of the scores.

    Args:
        scores: finite, any float type.
        k: number of slots, 1..N.
        sigma: standard deviation of the noise, > 0; a tensor receives its gradient too.

    Returns:
        A selection over the candidates in reach of the threshold.
    """
    with torch.no_grad():
        wide = scores.double()
        reference = wide.kthvalue(scores.shape[1] - k + 1, dim=1, keepdim=True).values
        x = (wide - reference) / sigma
        low, high = _interval(x, k)
        candidates, real = _in_reach(x, low)
    near = (scores.gather(1, candidates).double() - reference) / sigma
    far_below = torch.full_like(near, -_FAR)
    weights: Tensor = _Slots.apply(  # type: ignore[no-untyped-call]
        torch.where(real, near.clamp(-_FAR, _FAR), far_below), low, high, k
    )
    return Selection(candidates, weights.to(scores.dtype))


_FAR = 100.0  # Phi(-100) is 0 in float64: neither in reach nor in doubt


def _interval(x: Float[Tensor, "B N"], k: int) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Where the threshold lies, but for a chance of about `_NEGLIGIBLE`.

    At t, the number of candidates above has the mean m(t) = sum_i p_i(t). Chernoff's bounds on the
    number give means beyond which t is too low or too high; t is found from m by bisection.
    """
    n = x.shape[1]
    lowest = torch.full_like(x[:, 0], _normal_quantile(_NEGLIGIBLE / k))
    highest = torch.full_like(x[:, 0], -_normal_quantile(_NEGLIGIBLE / n))
    near = x[:, (x > lowest[0] - highest[0]).any(dim=0)]

    def crossing(mean: float) -> Float[Tensor, "B"]:
        low, high = lowest, highest
        for _ in range(12):  # to 1/4096 of the interval: it need not be sharp
            middle = (low + high) / 2
            above = torch.special.ndtr(near - middle[:, None]).sum(dim=1) > mean
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return (low + high) / 2

    few, many = _improbable_means(k)
    low = torch.maximum(crossing(many) - 0.01, lowest)
    return low, torch.maximum(crossing(few) + 0.01, low + 0.1)


def _improbable_means(k: int) -> tuple[float, float]:
    """Means m of a sum of independent indicators beyond which it is surely < k, or surely >= k.

    Chernoff: P(sum >= k) <= e^-m (e m / k)^k for m < k, P(sum <= c) <= e^-m (e m / c)^c for m > c.
    """
    budget = -math.log(_NEGLIGIBLE)

    def exponent(mean: float, count: int) -> float:
        return mean - count + (count * math.log(count / mean) if count else 0.0)

    few, many = (
        (1e-300, float(k)),
        (max(k - 1.0, 1e-300), k + 2 * budget + 10 * math.sqrt(budget * k)),
    )
    for _ in range(200):
        middle = math.sqrt(few[0] * few[1])
        few = (middle, few[1]) if exponent(middle, k) > budget else (few[0], middle)
        middle = sum(many) / 2
        many = (middle, many[1]) if exponent(middle, k - 1) < budget else (many[0], middle)
    return few[0], many[1]


def _normal_quantile(probability: float) -> float:
    return float(torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)))


def _in_reach(
    x: Float[Tensor, "B N"], low: Float[Tensor, "B"]
) -> tuple[Int[Tensor, "B M"], Bool[Tensor, "B M"]]:
    """The candidates that may exceed the lowest threshold, in index order, and which are real.

    Those left out have together a chance below `_NEGLIGIBLE` of being chosen.
    """
    above = torch.special.ndtr(x - low[:, None])  # (B, N)
    cut = low.new_full(low.shape, -torch.inf)
    for sigmas in _CUTS:
        beyond = x < low[:, None] - sigmas
        harmless = torch.where(beyond, above, 0).sum(dim=1) < _NEGLIGIBLE
        cut = torch.where(harmless, low - sigmas, cut)
    mask = x >= cut[:, None]
    image, number = mask.nonzero(as_tuple=True)
    position = mask.cumsum(dim=1)[image, number] - 1
    found = mask.sum(dim=1, keepdim=True)
    most = int(found.max())
    candidates = torch.zeros(x.shape[0], most, dtype=torch.int64, device=x.device)
    candidates[image, position] = number
    return candidates, torch.arange(most, device=x.device) < found


class _Slots(torch.autograd.Function):
    """W (B, K, M) from scores (B, M) in units of sigma, with its own backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "B M"],
        low: Float[Tensor, "B"],
        high: Float[Tensor, "B"],
        k: int,
    ) -> Float[Tensor, "B K M"]:
        weights = torch.zeros(k, x.shape[1], x.shape[0], dtype=x.dtype, device=x.device)
        unfinished, used = torch.arange(x.shape[0], device=x.device), []
        for nodes in _NODES:
            pairs = _quadrature(unfinished, low, high, nodes)
            weights[..., unfinished] = 0
            for image, t, dt in _pieces(pairs, x.shape[1], 2 * (k + 1)):
                weights.index_add_(2, image, _weights(x.T[:, image] - t, dt, k))
            error = (weights.sum(dim=1) - 1).abs().amax(dim=0)  # (B,)
            done = (error < _ROW_SUM_TOLERANCE) | (nodes == _NODES[-1])
            used.append(tuple(each[done[pairs[0]]] for each in pairs))
            unfinished = unfinished[~done[unfinished]]
            if len(unfinished) == 0:
                break
        weights = weights.permute(2, 0, 1).contiguous()  # (B, K, M)
        ctx.save_for_backward(x, weights, *(torch.cat(each) for each in zip(*used, strict=True)))
        return weights

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K M"]
    ) -> tuple[Float[Tensor, "B M"], None, None, None]:
        x, weights, *pairs = ctx.saved_tensors
        # Rows of W sum to one: a constant per slot changes nothing but the rounding.
        incoming = incoming - (incoming * weights).sum(dim=2, keepdim=True)
        incoming = incoming.permute(2, 1, 0)  # (M, K, B)
        gradient = torch.zeros_like(x.T)  # (M, B)
        for image, t, dt in _pieces(pairs, x.shape[1], 4 * (weights.shape[1] + 1)):
            part = _gradient(x.T[:, image] - t, dt, incoming[..., image])
            gradient.index_add_(1, image, part)
        return gradient.T, None, None, None


def _quadrature(
    images: Int[Tensor, "b"], low: Float[Tensor, "B"], high: Float[Tensor, "B"], nodes: int
) -> tuple[Int[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]:
    """All (image, node) pairs: the image, the threshold t and the measure dt it stands for."""
    roots, measures = np.polynomial.legendre.leggauss(nodes)
    half = (high - low)[images, None] / 2
    threshold = low[images, None] + half * (torch.from_numpy(roots).to(low) + 1)
    measure = half * torch.from_numpy(measures).to(low)
    return images.repeat_interleave(nodes), threshold.flatten(), measure.flatten()


def _pieces(
    pairs: Sequence[Tensor], candidates: int, state: int
) -> Iterator[tuple[Int[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]]:
    """The pairs in pieces whose states, `state` numbers for every candidate, fit the memory."""
    at_once = max(1, _STATE_BYTES // (2 * candidates * state * 8))
    return zip(*(torch.split(each, at_once) for each in pairs), strict=True)


def _weights(
    z: Float[Tensor, "M P"], measure: Float[Tensor, "P"], k: int
) -> Float[Tensor, "K M P"]:
    """The integrand of W at each pair's threshold, times its measure."""
    p, f = torch.special.ndtr(z), _density(z)
    before, after = _counts(p, f, k, None)  # (M, 2, C, P)
    # With c chosen before i, k-1-c come after it, and i fills slot c+1.
    a, a_at = before[:, :, :-1].unbind(dim=1)  # (M, K, P)
    b, b_at = after[:, :, 1:].unbind(dim=1)
    mass = (a_at * b).addcmul_(a, b_at).mul_(p[:, None]).addcmul_(a * b, f[:, None])
    return mass.mul_(measure).transpose(0, 1)


def _gradient(
    z: Float[Tensor, "M P"], measure: Float[Tensor, "P"], g: Float[Tensor, "M K P"]
) -> Float[Tensor, "M P"]:
    """d<G, W> / dx at each pair's threshold, times its measure.

    With X_out, X_above, X_at the values when i is left out, above the threshold and at it, the
    integrand is (1 - p_i) X_out + p_i X_above + f_i X_at; dp_i = f_i dx_i, df_i = -z_i f_i dx_i.
    """
    p, f = torch.special.ndtr(z), _density(z)
    before, after = _counts(p, f, g.shape[1], g)  # (M, 4, C, P): A, V, A', V'
    a, v, a_at, v_at = before.unbind(dim=1)
    b, u, b_at, u_at = after.unbind(dim=1)

    out = (a_at * u).addcmul_(v_at, b).addcmul_(a, u_at).addcmul_(v, b_at).sum(dim=1)
    a, v, a_at, v_at = (each[:, :-1] for each in (a, v, a_at, v_at))
    b, u, b_at, u_at = (each[:, 1:] for each in (b, u, b_at, u_at))
    upto = torch.addcmul(v, g, a)  # the value of the slots up to and with i's own
    at = (upto * b).addcmul_(a, u).sum(dim=1)
    above = upto.mul_(b_at).addcmul_(a, u_at).addcmul_(a_at, u)
    above = above.addcmul_(torch.addcmul(v_at, g, a_at), b).sum(dim=1)
    return (above - out - z * at) * f * measure


def _density(z: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _counts(
    p: Float[Tensor, "M P"],
    f: Float[Tensor, "M P"],
    k: int,
    g: Float[Tensor, "M K P"] | None,
) -> tuple[Float[Tensor, "M S C P"], Float[Tensor, "M S C P"]]:
    """Both recurrences at once: the states before each candidate, and after it with c reversed.

    The S states are (A, A'), or with g, the incoming gradient, (A, V, A', V'). C = k+1 counts.

    Returns:
        before: entry c is for c chosen before candidate i.
        after: entry c is for k-c chosen after candidate i.
    """
    candidates, pairs = p.shape
    kinds = 2 if g is None else 4
    p, f = torch.stack((p, p.flip(0)), dim=1), torch.stack((f, f.flip(0)), dim=1)  # (M, 2, P)
    left_out = 1 - p
    if g is not None:  # seen from the back, the c-th chosen fills slot k+1-c
        g = torch.stack((g, g.flip(0, 1)), dim=2)  # (M, K, 2, P)
    states = torch.empty(candidates, kinds, k + 1, 2, pairs, dtype=p.dtype, device=p.device)
    states[0].zero_()
    states[0, 0, 0] = 1
    for i in range(candidates - 1):
        state, following = states[i], states[i + 1]
        shifted = state[:, :-1]
        chosen = shifted * p[i]
        chosen[kinds // 2 :].addcmul_(shifted[: kinds // 2], f[i])
        if g is not None:
            chosen[1::2].addcmul_(chosen[0::2], g[i])
        torch.mul(state, left_out[i], out=following)
        following[:, 1:] += chosen
    return states[..., 0, :], states[..., 1, :].flip(0, 2)
