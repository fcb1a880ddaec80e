"""The active candidates: those that may be selected, and where the threshold may lie.

The threshold is the k-th largest noisy score. Everything but the scores is in units of sigma,
relative to the k-th largest score.
"""

import math
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.topk.hard import check_finite

# Probability of a threshold outside the interval of integration, and of an inactive candidate.
NEGLIGIBLE = 1e-9

# Scores are counted in bins of 1/16 sigma from -16 to 16.
_BINS_PER_SIGMA, _RANGE = 16, 16


def find_active(
    scores: Float[Tensor, "B N"], k: int, sigma: float
) -> tuple[Int[Tensor, "B M"], Float[Tensor, "B 4"], Int[Tensor, " B"]]:
    """The active candidates, and the interval of the threshold.

    The number of candidates above t has the mean m(t) = sum_i p_i(t). Chernoff's bounds on the
    number give means beyond which t is too low or too high. The inactive candidates together have
    a probability below `NEGLIGIBLE` of being selected. The device must have float64.

    Returns:
        candidates: in index order, short rows padded with 0.
        plan: the k-th largest score; relative to it in sigmas, the lower and upper end of the
            threshold's interval, and the lowest active score.
        count: number of active candidates per row.

    Raises:
        ValueError: a score is NaN or infinite.
    """
    known = scores.nan_to_num(0.0, 0.0, 0.0)  # what is not finite is refused below
    reference = known.kthvalue(scores.shape[1] - k + 1, dim=1, keepdim=True).values.double()
    x = (known.double() - reference) / sigma
    low, high, cut = _interval(x, k)
    mask = x >= cut[:, None]
    count = mask.sum(dim=1)
    # All that the host asks for: how many columns there are, and whether to go on.
    finite = scores.isfinite().all()
    width, is_finite = torch.stack((count.max(), finite.long())).tolist()
    if not is_finite:
        check_finite(scores)
    first = (~mask).to(torch.uint8).sort(dim=1, stable=True).indices[:, :width]
    padding = torch.arange(first.shape[1], device=x.device) >= count[:, None]
    return (
        first.masked_fill(padding, 0),
        torch.stack((reference[:, 0], low, high, cut), dim=1),
        count,
    )


def _interval(
    x: Float[Tensor, "B N"], k: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Both ends of the threshold's interval, and the lowest active score, on the edges of bins."""
    bin_count = 2 * _RANGE * _BINS_PER_SIGMA
    edges = torch.arange(bin_count + 1, device=x.device)
    at = (edges / _BINS_PER_SIGMA - _RANGE).double()
    bins = ((x + _RANGE) * _BINS_PER_SIGMA).floor().clamp(-1, bin_count)
    bins = bins.long() + 1  # 0: below all bins
    counts = torch.zeros(x.shape[0], bin_count + 2, dtype=x.dtype, device=x.device)
    counts.scatter_add_(1, bins, torch.ones_like(x))

    def tail(steps: Tensor) -> Tensor:
        probability: Tensor = torch.special.ndtr(steps.double() / _BINS_PER_SIGMA)
        return probability

    few, many = improbable_means(k)
    # The mean above each edge if every score lay at the lower or upper edge of its bin.
    lower, upper = (
        counts[:, 1:-1] @ tail(edges[:-1, None] + up - edges) + counts[:, -1:] for up in (0, 1)
    )
    at_zero = torch.special.ndtr(at)
    short = (at <= 0) & (at_zero < NEGLIGIBLE / k)  # each of the k best falls below these
    low = torch.maximum((lower > many).sum(dim=1) - 1, short.sum() - 1)  # (B,)
    fewer = (edges > low[:, None]) & (upper < few)
    fewer |= (edges >= bin_count // 2) & (x.shape[1] * torch.special.ndtr(-at) < NEGLIGIBLE)
    high = fewer.int().argmax(dim=1)
    # of the bins below, at their upper edge
    probability = counts[:, :-2] * tail(edges[:-1] - low[:, None])
    dropped = (probability.cumsum(dim=1) <= NEGLIGIBLE) & (edges[:-1] <= low[:, None])
    cut = dropped.sum(dim=1) - 1
    floor = torch.where(cut < 0, -torch.inf, at[cut.clamp(min=0)])
    return at[low.clamp(min=0)], at[high], floor


@cache
def improbable_means(k: int) -> tuple[float, float]:
    """Means m of a sum of independent indicators beyond which it is almost surely < k, or >= k.

    Chernoff: P(sum >= k) <= e^-m (e m / k)^k for m < k, P(sum <= c) <= e^-m (e m / c)^c for m > c.
    """
    budget = -math.log(NEGLIGIBLE)

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
