"""Optimal transport by the package POT."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.paper.operators.dense import dense
from foveal.topk import Selection


def pot(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """The plan of `foveal.topk.sinkhorn` by Sinkhorn's sweeps, through which the gradient runs.

    Up to 1000 sweeps, the package's default; rows are scaled to sum to one where it has not
    converged.

    References:
        Xie et al., Differentiable Top-k with Optimal Transport, NeurIPS 2020; Flamary et al., POT:
        Python Optimal Transport, JMLR 2021.
    """
    from ot import solve_batch

    batch, n = scores.shape
    place = torch.arange(k + 1, dtype=scores.dtype, device=scores.device)
    costs = (scores[..., None] - place).square()  # (B, N, K + 1)
    share = torch.full_like(place, 1 / n)
    share[0] = (n - k) / n
    plan = solve_batch(
        costs,
        reg=softness,
        a=scores.new_full((batch, n), 1 / n),
        b=share.expand(batch, -1),
        method="log_sinkhorn",
        grad="autodiff",
    ).plan
    rows = plan[..., 1:].transpose(1, 2).flip(1)  # (B, K, N), the best first
    return dense(rows / rows.sum(dim=2, keepdim=True))
