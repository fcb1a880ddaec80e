"""Masks of the j best candidates, which sum to j, as slots: what each has more than the one before.

    W_j = mask_j - mask_(j - 1)        j = 1 .. K,   mask_0 = 0

Masks rise with j, so rows are nonnegative. In the limit slot j is the j-th best.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from foveal.paper.operators.dense import dense
from foveal.topk import Selection


def lapsum(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """LapSum: the mask is the distribution function of Laplace's law at x - b_j, of sum j.

    References:
        Struski et al., LapSum: One Method to Differentiate Them All, ICML 2025.
    """
    x = scores.double() / softness
    wanted = torch.arange(1, k + 1, device=x.device)[:, None]  # (K, 1)
    away = x[:, None] - _lapsum_threshold(x.detach(), k)  # (B, K, N), with the gradient of x alone
    tail = (-away.abs()).exp() / 2
    mask = torch.where(away < 0, tail, 1 - tail)
    slope = tail.detach()
    steepness = slope.sum(dim=2, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    shift = (mask.sum(dim=2, keepdim=True) - wanted) / steepness
    # a Newton step that is of size 0, and whose gradient is that of the threshold
    return _slots((mask - slope * shift).to(scores.dtype))


def _lapsum_threshold(x: Float[Tensor, "B N"], k: int) -> Float[Tensor, "B K 1"]:
    """Where the mask sums to 1 .. k: with m scores above b, A e^(2b) - 2 (m - j) e^b - C = 0."""
    batch, n = x.shape
    s = x.sort(dim=1, descending=True).values
    above = (-s).logcumsumexp(dim=1)  # log A_m = log sum_(i <= m) e^-s_i,    m = 1 .. N
    below = s.flip(1).logcumsumexp(dim=1).flip(1)  # log sum_(i >= m) e^s_i
    below = pad(below[:, 1:], (0, 1), value=-torch.inf)  # log C_m
    count = torch.arange(1, n + 1, device=x.device)
    total = count - (above + s).exp() / 2 + (below - s).exp() / 2  # the sum at b = s_m
    j = torch.arange(1, k + 1, device=x.device, dtype=x.dtype).expand(batch, k).contiguous()
    m = torch.searchsorted(total, j)  # scores above b, 0 .. N
    at = (m - 1).clamp(0, n - 2)
    a, c, d = above.gather(1, at), below.gather(1, at), m - j
    root = (d.abs() + (d.square() + (a + c).exp()).sqrt()).log() - (a + c) / 2  # asinh
    inside = (c - a) / 2 + torch.where(d == 0, 0, d.sign() * root)
    highest = s.logsumexp(dim=1, keepdim=True) - (2 * j).log()  # all scores below b
    lowest = (2 * (n - j)).log() - above[:, -1:]  # all above
    return torch.where(m == 0, highest, torch.where(m == n, lowest, inside))[..., None]


def dftopk(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """DFTopK: the mask is a sigmoid around the middle between the j-th and the next score.

    It does not sum to j exactly, so rows are scaled to sum to one.

    References:
        Zhu et al., Differentiable Fast Top-K Selection for Large-Scale Recommendation, 2025.
    """
    s = scores.topk(k + 1, dim=1).values
    middle = (s[:, :-1] + s[:, 1:])[..., None] / 2  # (B, K, 1)
    return _slots(((scores[:, None] - middle) / softness).sigmoid())


def budget(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """Budget sparsemax of the package entmax: the nearest mask of sum j, most of it 0 or 1.

    References:
        Martins & Kreutzer, Learning What's Easy: Fully Differentiable Neural Easy-First Taggers,
        EMNLP 2017; Sander et al., Fast, Differentiable and Sparse Top-k, ICML 2023.
    """
    from entmax import budget_bisect

    x = scores.double() / softness
    masks = [budget_bisect(x, budget=float(j), dim=-1) for j in range(1, k + 1)]
    return _slots(torch.stack(masks, dim=1).to(scores.dtype))


def _slots(masks: Float[Tensor, "B K N"]) -> Selection:
    rows = masks.diff(dim=1, prepend=torch.zeros_like(masks[:, :1])).clamp(min=0)
    return dense(rows / rows.sum(dim=2, keepdim=True))
