"""Which candidates are in reach of the threshold, the k-th largest noisy score, and where it lies.

Everything but the scores is in units of sigma, relative to the k-th largest score.
"""

import math
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Chance of a threshold outside the interval of integration, and of a choice out of reach.
NEGLIGIBLE = 1e-9

# Scores are counted on a lattice of 1/16 sigma from -16 to 16.
_GRAIN, _HALF = 16, 16


def reach(
    scores: Float[Tensor, "B N"], k: int, sigma: float
) -> tuple[Int[Tensor, "B M"], Float[Tensor, "B 4"], Int[Tensor, "B"]]:
    """The candidates in reach of the threshold, and where it lies.

    At t, the number of candidates above has the mean m(t) = sum_i p_i(t). Chernoff's bounds on the
    number give means beyond which t is too low or too high. Candidates left out have together a
    chance below `NEGLIGIBLE` of being chosen.

    Returns:
        candidates: in index order, short rows filled up with 0.
        plan: the k-th largest score; in sigmas from there where the threshold begins and ends, and
            the lowest candidate in reach.
        found: how many of each row are in reach.
    """
    reference = scores.kthvalue(scores.shape[1] - k + 1, dim=1, keepdim=True).values.double()
    x = (scores.double() - reference) / sigma
    low, high, cut = _interval(x, k)
    mask = x >= cut[:, None]
    found = mask.sum(dim=1)
    image, number = mask.nonzero(as_tuple=True)
    position = mask.cumsum(dim=1)[image, number] - 1
    candidates = found.new_zeros(x.shape[0], int(found.max()))
    candidates[image, position] = number
    return candidates, torch.stack((reference[:, 0], low, high, cut), dim=1), found


def _interval(
    x: Float[Tensor, "B N"], k: int
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Where the threshold begins and ends, and the lowest candidate in reach, on the lattice."""
    points = 2 * _HALF * _GRAIN
    lattice = torch.arange(points + 1, device=x.device)
    at = (lattice / _GRAIN - _HALF).double()
    bins = ((x + _HALF) * _GRAIN).floor().clamp(-1, points).long() + 1  # 0: below the lattice
    counts = torch.zeros(x.shape[0], points + 2, dtype=x.dtype, device=x.device)
    counts.scatter_add_(1, bins, torch.ones_like(x))

    def tail(steps: Tensor) -> Tensor:
        chance: Tensor = torch.special.ndtr(steps.double() / _GRAIN)
        return chance

    few, many = improbable_means(k)
    # The mean above lattice point a if every score stood at its bin's lower or upper edge.
    lower, upper = (
        counts[:, 1:-1] @ tail(lattice[:-1, None] + up - lattice) + counts[:, -1:] for up in (0, 1)
    )
    at_zero = torch.special.ndtr(at)
    short = (at <= 0) & (at_zero < NEGLIGIBLE / k)  # each of the k best falls short of these
    low = torch.maximum((lower > many).sum(dim=1) - 1, short.sum() - 1)  # (B,)
    fewer = (lattice > low[:, None]) & (upper < few)
    fewer |= (lattice >= points // 2) & (x.shape[1] * torch.special.ndtr(-at) < NEGLIGIBLE)
    high = fewer.int().argmax(dim=1)
    chance = counts[:, :-2] * tail(
        lattice[:-1] - low[:, None]
    )  # of bins below, at their upper edge
    dropped = (chance.cumsum(dim=1) <= NEGLIGIBLE) & (lattice[:-1] <= low[:, None])
    cut = dropped.sum(dim=1) - 1
    floor = torch.where(cut < 0, -torch.inf, at[cut.clamp(min=0)])
    return at[low.clamp(min=0)], at[high], floor


@cache
def improbable_means(k: int) -> tuple[float, float]:
    """Means m of a sum of independent indicators beyond which it is surely < k, or surely >= k.

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
