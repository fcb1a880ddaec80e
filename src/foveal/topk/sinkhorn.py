"""The Top-K as optimal transport of the scores to ordered slots, smoothed by an entropy."""

import math
from typing import get_args

from jaxtyping import Float
from torch import Tensor

from foveal._float64 import has_float64
from foveal.topk.hard import check
from foveal.topk.selection import Selection
from foveal.topk.transport import NEGLIGIBLE, Solver, transport


def sinkhorn(
    scores: Float[Tensor, "B N"],
    k: int,
    *,
    epsilon: float = 1e-4,
    iterations: int = 2000,
    solver: Solver = "newton",
) -> Selection:
    """Select k candidates softly by entropic optimal transport, differentiable in the scores.

    Unlike the slots of `hard` and `perturbed`, in index order, these are *in order of score*: slot
    0 looks at the k-th best candidate, slot k - 1 at the best. Candidates share a slot where their
    scores differ by no more than a few epsilon / 2.

    Time O(M K^2) per Newton step and memory O(M K), for M active candidates. Computed in float64
    whatever the type of the scores; on the CPU where their device has no float64, with the same
    result.

    Args:
        scores: relevance of the N candidates, normalised per image so that epsilon has a meaning.
        k: number of slots, 1..N.
        epsilon: weight of the entropy in units of squared scores, >= 0. 0 is the limit: one-hot
            rows of the k best, without gradient.
        iterations: maximum number of Newton steps, seldom more than 16; or number of sweeps.
        solver: ``newton`` stops when the marginal of every threshold holds within 1e-10.
            ``released`` is the paper's code: log-domain Sinkhorn sweeps from zero potentials over
            all candidates, without a check of the marginals. With the defaults it ends far from
            the optimum. Its gradient uses the formula of the optimal plan all the same.

    Returns:
        A selection whose rows are nonnegative and sum to one, in order of rising score.

    Raises:
        ValueError: k outside 1..N, epsilon < 0, iterations < 1, an unknown solver, scores that are
            NaN or infinite, or marginals that do not hold after all iterations.

    References:
        Xie et al., Differentiable Top-k with Optimal Transport, NeurIPS 2020 (sorted variant);
        Cordonnier et al., CVPR 2021, appendix E; Sun & Tran-Dinh, Generalized self-concordant
        functions: a recipe for Newton-type methods, Math. Programming 2019 (the step).

    >>> import torch
    >>> sinkhorn(torch.tensor([[0.2, 0.9, 0.6, 0.1]]), 2).dense(4)
    tensor([[[0., 0., 1., 0.],
             [0., 1., 0., 0.]]])
    """
    check(scores, k)
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"epsilon must be finite and >= 0: got {epsilon}")
    if iterations < 1:
        raise ValueError(f"iterations must be >= 1: got {iterations}")
    if solver not in get_args(Solver):
        raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}: got {solver!r}")
    if not has_float64(scores.device):
        selection = sinkhorn(scores.cpu(), k, epsilon=epsilon, iterations=iterations, solver=solver)
        return selection.to(scores.device)
    best = scores.detach().sort(dim=1, descending=True, stable=True)
    if epsilon == 0:
        return Selection.one_hot(best.indices[:, :k].flip(1), scores.dtype)
    everything = solver == "released"
    active = scores.shape[1] if everything else _count_active(best.values.double(), k, epsilon)
    candidates = best.indices[:, :active].flip(1)
    values = scores.gather(1, candidates).double()  # (B, M), in rising order
    weights = transport(values, k, epsilon, iterations, solver)
    return Selection(candidates, weights.to(scores.dtype))


def _count_active(best: Float[Tensor, "B N"], k: int, epsilon: float) -> int:
    """How many of the best candidates may have weight; the others together have < `NEGLIGIBLE`.

    The k + 1 best share a weight of at most k, so the (k+1)-th is chosen with odds of at most k;
    one that is worse by d, with odds smaller by at least the factor exp(-2 d / epsilon).
    """
    n = best.shape[1]
    if k == n:
        return n
    distance = epsilon / 2 * math.log(n * k / NEGLIGIBLE)
    return int((best >= best[:, k : k + 1] - distance).sum(dim=1).max())
