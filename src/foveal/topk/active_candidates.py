"""The active candidates: those that may be selected, and where the threshold may lie.

The threshold is the k-th largest noisy score. Everything but the scores is in units of sigma,
relative to the k-th largest score.
"""

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
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


class _Edges(NamedTuple):
    """What depends on the bins alone, B_n of them.

    Attributes:
        number: of the edges, 0 to B_n.
        at: where they lie, in sigmas.
        tails: the chance to be above 0 of noise around the distance between two edges, which is
            given as a number of bins plus B_n.
        above: the same, of each edge seen from the lower and from the upper edge of each bin.
    """

    number: Int[Tensor, " e"]
    at: Float[Tensor, " e"]
    tails: Float[Tensor, " s"]
    above: tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]


_BINS = 2 * _RANGE * _BINS_PER_SIGMA


@lru_cache(maxsize=8)
def _edges(device: torch.device) -> _Edges:
    number = torch.arange(_BINS + 1, device=device)
    steps = torch.arange(-_BINS, _BINS + 1, device=device).double()
    tails = torch.special.ndtr(steps / _BINS_PER_SIGMA)
    between = number[:-1, None] - number + _BINS  # from edge to lower edge of bin
    # the last bin's upper edge is as far from the first edge as there are bins
    above = tails[between], tails[between + 1]
    return _Edges(number, (number / _BINS_PER_SIGMA - _RANGE).double(), tails, above)


@lru_cache(maxsize=64)
def _bounds(n: int, k: int, device: torch.device) -> tuple[Int[Tensor, ""], Bool[Tensor, " e"]]:
    """The last edge that each of the k best exceeds, and the edges that none of all n exceeds."""
    number, at, _, _ = _edges(device)
    short = (at <= 0) & (torch.special.ndtr(at) < NEGLIGIBLE / k)
    none = (number >= _BINS // 2) & (n * torch.special.ndtr(-at) < NEGLIGIBLE)
    return short.sum() - 1, none


def _interval(
    x: Float[Tensor, "B N"], k: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Both ends of the threshold's interval, and the lowest active score, on the edges of bins."""
    number, at, tails, above = _edges(x.device)
    bins = ((x + _RANGE) * _BINS_PER_SIGMA).floor().clamp(-1, _BINS)
    bins = bins.long() + 1  # 0: below all bins
    counts = x.new_zeros(x.shape[0], _BINS + 2)
    counts.scatter_add_(1, bins, torch.ones_like(x))
    few, many = improbable_means(k)
    # The mean above each edge if every score lay at the lower or upper edge of its bin.
    lower, upper = (counts[:, 1:-1] @ each + counts[:, -1:] for each in above)
    least, none = _bounds(x.shape[1], k, x.device)
    low = torch.maximum((lower > many).sum(dim=1) - 1, least)  # (B,)
    fewer = (number > low[:, None]) & (upper < few)
    high = (fewer | none).int().argmax(dim=1)
    # of the bins below, at their upper edge
    up_to = number[:-1]
    probability = counts[:, :-2] * tails[up_to - low[:, None] + _BINS]
    dropped = (probability.cumsum(dim=1) <= NEGLIGIBLE) & (up_to <= low[:, None])
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
