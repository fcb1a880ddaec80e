"""Rows of relaxed sorting, the K best only, and what is made of them.

With x the scores, s the scores in falling order, and t the softness,

    SoftSort      W_j = softmax_i( -|s_j - x_i| / t )
    NeuralSort    W_j = softmax_i( ((N + 1 - 2 j) x_i - sum_l |x_i - x_l|) / t )        j = 1 .. K
"""

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.paper.operators.dense import dense
from foveal.topk import Selection


def softsort(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """SoftSort.

    References:
        Prillo & Eisenschlos, SoftSort: A Continuous Relaxation for the argsort Operator, ICML 2020.
    """
    best = scores.sort(dim=1, descending=True).values[:, :k, None]
    return dense((-(best - scores[:, None]).abs() / softness).softmax(dim=2))


def neuralsort(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """NeuralSort; the sums of distances are taken in sorted order, in O(N) memory instead of N^2.

    References:
        Grover et al., Stochastic Optimization of Sorting Networks via Continuous Relaxations, ICLR
        2019.
    """
    n = scores.shape[1]
    s, order = scores.sort(dim=1, descending=True)
    rank = torch.arange(1, n + 1, device=scores.device)
    before = s.cumsum(dim=1)
    sums = 2 * before - before[:, -1:] + (n - 2 * rank) * s  # sum_l |s_r - s_l|
    sums = sums.gather(1, order.argsort(dim=1))[:, None]  # (B, 1, N)
    slope = (n + 1 - 2 * rank[:k])[:, None]  # (K, 1)
    return dense(((slope * scores[:, None] - sums) / softness).softmax(dim=2))


def straight_through(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """The hard Top-K forwards, the gradient of SoftSort backwards.

    References:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.
    """
    soft = softsort(scores, k, softness, None).weights
    best = scores.detach().sort(dim=1, descending=True).indices[:, :k, None]
    one_hot = torch.zeros_like(soft).scatter_(2, best, 1)
    return dense(one_hot + (soft - soft.detach()))


def gumbel(
    scores: Float[Tensor, "B N"], k: int, softness: float, generator: torch.Generator | None
) -> Selection:
    """SoftSort of scores with Gumbel's noise: relaxed draws without replacement.

    The K best of them are draws in proportion to exp(scores / softness).

    References:
        Kool et al., Stochastic Beams and Where to Find Them, ICML 2019; Grover et al., ICLR 2019,
        the stochastic variant.
    """
    noise = -torch.empty_like(scores).exponential_(generator=generator).log()
    return softsort(scores + softness * noise, k, softness, None)
