"""The optimal plan from N sorted scores to K + 1 places, and its gradient.

Every candidate carries the mass 1/N from its score x_i to the places j = 0, 1, .. K at the cost
(x_i - j)^2. Place 0 takes the mass of the N - K left out, each slot j >= 1 that of one candidate.
With P = N times the plan that minimises cost - epsilon x entropy, P_ij is the weight of candidate
i in slot j. That plan is an ordinal regression: with K thresholds t_1 .. t_K,

    P_ij = softmax_j  sum_{l <= j} 2 (x_i - t_l) / epsilon,        sum_i P_ij = 1 for j >= 1.

So only K numbers are unknown, and the N marginals of the candidates always hold. The thresholds
minimise a smooth convex function (the semi-dual) whose gradient is the error of the slots'
marginals and whose Hessian is the summed covariance of "candidate i is above threshold l". Newton's
method with the step size of generalised self-concordance decreases it monotonically from any start
and converges quadratically: a few steps where Sinkhorn's sweeps need thousands.

At the optimum, for an incoming gradient G of the weights (G_i0 = 0),

    d<G, P> / dx_i = 2/epsilon Cov_{j ~ P_i}( j, G_ij - V_j ),

where V_j, the dual value of a place, makes sum_i Cov_{j ~ P_i}(1[j >= l], G_ij -
V_j) = 0 for every l: K linear equations with the Hessian for a matrix.
"""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, constant_pad_nd
from torch.autograd.function import once_differentiable

Solver = Literal["newton", "released"]

NEGLIGIBLE = 1e-10
"""Tolerance of a threshold's marginal, and total weight of the candidates left out."""

# Keeps the Hessian regular where the selection is certain; far below every relevant weight.
_RIDGE, _RELATIVE_RIDGE = 1e-100, 1e-12


def transport(
    x: Float[Tensor, "B M"], k: int, epsilon: float, iterations: int, solver: Solver
) -> Float[Tensor, "B K M"]:
    """The weights of each slot, for scores in rising order; see `foveal.topk.sinkhorn`.

    Returns:
        Weights whose rows sum to one, differentiable in the scores.
    """
    weights: Tensor = _Transport.apply(  # type: ignore[no-untyped-call]
        x, k, epsilon, iterations, solver
    )
    return weights


class _Transport(torch.autograd.Function):
    """W (B, K, M) from scores (B, M), with its own backward pass.

    There are L = K thresholds between P = L + 1 places, but K - 1 where all M = K are chosen: then
    nobody is left out, and there is no place 0.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "B M"],
        k: int,
        epsilon: float,
        iterations: int,
        solver: Solver,
    ) -> Float[Tensor, "B K M"]:
        solve = _newton if solver == "newton" else _sweeps
        log_plan = solve(x, k, epsilon, iterations)  # (B, M, P)
        ctx.save_for_backward(log_plan.exp())
        ctx.epsilon = epsilon
        return log_plan[..., -k:].softmax(dim=1).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K M"]
    ) -> tuple[Float[Tensor, "B M"], None, None, None, None]:
        (plan,) = ctx.saved_tensors  # (B, M, P)
        g = torch.zeros_like(plan)
        g[..., -incoming.shape[1] :] = incoming.transpose(1, 2)
        g = _against_own(g)
        unbalanced = _crossing(plan * (g - _mean(plan, g)))  # (B, L)
        value = constant_pad_nd(
            _solved(plan, unbalanced).cumsum(dim=1), (1, 0)
        )  # (B, P): V, V_0 = 0
        g = g - _against_own(value[:, None].expand_as(plan))
        place = torch.arange(plan.shape[2], dtype=plan.dtype, device=plan.device)
        place = _against_own(place.expand_as(plan))
        covariance = _mean(plan, place * g) - _mean(plan, place) * _mean(plan, g)
        return 2 / ctx.epsilon * covariance[..., 0], None, None, None, None


def _newton(
    x: Float[Tensor, "B M"], k: int, epsilon: float, iterations: int
) -> Float[Tensor, "B M P"]:
    """log P of the optimal plan.

    The thresholds start halfway between neighbours in the hard selection, which is the optimum
    where the scores are many epsilon apart. Only their shifts are stored, in log-odds, so nothing
    is rounded at the size of score / epsilon. Converged images no longer change, so that an image
    does not depend on its batch.
    """
    m = x.shape[1]
    thresholds = min(k, m - 1)
    middle = (x[:, m - thresholds - 1 : m - 1] + x[:, m - thresholds :]) / 2  # (B, L)
    odds = 2 * (x[:, :, None] - middle[:, None]) / epsilon  # (B, M, L)
    moved = torch.zeros_like(middle)
    for _ in range(iterations):
        log_plan = _log_plan(odds + moved[:, None])
        plan = log_plan.exp()
        excess = _crossing(plan)  # (B, L): the gradient
        off = (
            constant_pad_nd(excess, (1, 0)).abs().amax(dim=1, keepdim=True)
        )  # 0 without thresholds
        if (off <= NEGLIGIBLE).all():
            return log_plan
        step = -_solved(plan, excess)
        change = constant_pad_nd(step.cumsum(dim=1), (1, 0))  # (B, P), of the log-odds
        span = change.amax(dim=1, keepdim=True) - change.amin(dim=1, keepdim=True)
        damped = step * torch.where(span > 0, span.log1p() / span, 1)
        moved = torch.where(off > NEGLIGIBLE, moved + damped, moved)
    raise ValueError(
        f"the marginals are off by {off.max():.1e} after {iterations} iterations at "
        f"epsilon={epsilon}: allow more iterations or choose a larger epsilon"
    )


def _sweeps(
    x: Float[Tensor, "B M"], k: int, epsilon: float, iterations: int
) -> Float[Tensor, "B M P"]:
    """log P after Sinkhorn's sweeps, without the slots' half of the last, which `_Transport` does.

    Each sweep fits the candidates' marginals and then the slots', starting at zero potentials.
    """
    left_out = x.shape[1] - k
    place = torch.arange(0 if left_out else 1, k + 1, dtype=x.dtype, device=x.device)
    wanted = torch.ones_like(place)
    wanted[0] = left_out or 1
    potential = (-place.square()).expand(len(x), 1, -1)  # (B, 1, P)
    for _ in range(iterations - 1):
        log_plan = ((2 * x[..., None] * place + potential) / epsilon).log_softmax(dim=2)
        filled = log_plan.logsumexp(dim=1, keepdim=True)
        potential = potential + epsilon * (wanted.log() - filled)
    threshold = -potential.diff(dim=2) / 2  # (B, 1, L)
    return _log_plan(2 * (x[:, :, None] - threshold) / epsilon)


def _log_plan(odds: Float[Tensor, "B M L"]) -> Float[Tensor, "B M P"]:
    """log P from the log-odds of being above rather than below each threshold.

    They are summed from each candidate's place in the hard selection outwards, so that the relevant
    sums are small and exact.
    """
    own = _own(odds.shape[1], odds.shape[2], odds.device)
    upwards = torch.where(own, 0, odds).cumsum(dim=2)
    downwards = _from_above(torch.where(own, -odds, 0))
    return (constant_pad_nd(upwards, (1, 0)) + constant_pad_nd(downwards, (0, 1))).log_softmax(
        dim=2
    )


def _own(m: int, thresholds: int, device: torch.device) -> Bool[Tensor, "M L"]:
    """Whether the hard selection puts candidate i, in rising order, above threshold l."""
    return torch.ones(m, thresholds, dtype=torch.bool, device=device).tril(thresholds - m)


def _crossing(mass: Float[Tensor, "B M P"]) -> Float[Tensor, "B L"]:
    """The mass above each threshold minus that of the hard selection.

    Computed as mass from candidates below minus mass missing from those above: no cancellation.
    """
    own = _own(mass.shape[1], mass.shape[2] - 1, mass.device)
    return torch.where(own, -_below(mass), _above(mass)).sum(dim=1)


def _solved(plan: Float[Tensor, "B M P"], right: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Solve H y = right for the Hessian of the semi-dual in log-odds.

    H_lm = sum_i Cov(1[i above l], 1[i above m]) = sum_i P(i below l) P(i above m) for l <= m.
    """
    upper = (_below(plan).transpose(1, 2) @ _above(plan)).triu()  # (B, L, L)
    hessian = upper + upper.triu(1).transpose(1, 2)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    regular = hessian + torch.diag_embed(_RELATIVE_RIDGE * diagonal + _RIDGE)
    return torch.cholesky_solve(right[..., None], torch.linalg.cholesky(regular))[..., 0]


def _above(plan: Float[Tensor, "B M P"]) -> Float[Tensor, "B M L"]:
    return _from_above(plan[..., 1:])


def _below(plan: Float[Tensor, "B M P"]) -> Float[Tensor, "B M L"]:
    return plan[..., :-1].cumsum(dim=2)


def _from_above(values: Float[Tensor, "B M L"]) -> Float[Tensor, "B M L"]:
    """Cumulative sums along the last axis, from its end."""
    return values.flip(2).cumsum(dim=2).flip(2)


def _against_own(values: Float[Tensor, "B M P"]) -> Float[Tensor, "B M P"]:
    """Values minus the value at the candidate's own place, which is then exactly 0."""
    _, m, places = values.shape
    number = _own(m, places - 1, values.device).sum(dim=1)  # (M,)
    return values - values.gather(2, number[None, :, None].expand(len(values), -1, 1))


def _mean(plan: Float[Tensor, "B M P"], values: Float[Tensor, "B M P"]) -> Float[Tensor, "B M 1"]:
    return (plan * values).sum(dim=2, keepdim=True)
