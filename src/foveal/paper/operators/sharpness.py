"""How sharp an operator is: equal sharpness makes operators of different kinds comparable.

mixed = mean over slots of exp(entropy of the slot's weights)        1: hard, N: uniform
gap   = mean over slots of 1 - weight of the slot's hard choice      0: hard
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.paper.operators import OPERATORS, OperatorName, select

_IMAGES = 4
_SOFTEST, _HARDEST, _HALVINGS = 1e2, 1e-7, 18


def uniform(batch: int, n: int) -> Float[Tensor, "B N"]:
    """Scores uniform in [0, 1], the same at every call."""
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def mixed(name: OperatorName, scores: Float[Tensor, "B N"], k: int, softness: float) -> float:
    """How many candidates a slot mixes, by its entropy."""
    weights = _select(name, scores, k, softness).double()
    return float(torch.special.entr(weights).sum(dim=2).exp().mean())


@torch.no_grad()
def gap(name: OperatorName, scores: Float[Tensor, "B N"], k: int, softness: float) -> float:
    """What part of a slot's mixture is not its hard choice."""
    n = scores.shape[1]
    soft = _select(name, scores, k, softness)
    return float(1 - (soft * select(name, scores, k, 0).dense(n)).sum(dim=2).mean())


@lru_cache(maxsize=256)
def softness_at(name: OperatorName, wanted: float, n: int, k: int) -> float:
    """The softness at which slots mix so many candidates, of n with uniform scores.

    Found by bisection; where noise is drawn, it is the same in every step.
    """
    name = OPERATORS[name].sharp_as or name
    scores, low, high = uniform(_IMAGES, n), math.log(_HARDEST), math.log(_SOFTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if mixed(name, scores, k, math.exp(middle)) < wanted:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def softness_as(name: OperatorName, sigma: float, n: int, k: int) -> float:
    """The softness at which an operator is as sharp as the exact one with noise sigma."""
    if name == "exact":
        return sigma
    return softness_at(name, mixed("exact", uniform(_IMAGES, n), k, sigma), n, k)


def gap_at(name: OperatorName, wanted: float, n: int, k: int) -> float | None:
    """The gap where slots mix so many candidates; None if the operator comes to no such mixture.

    That is where sweeps end before they have converged, which they do sooner the harder it gets.
    """
    soft = softness_at(name, wanted, n, k)
    sharp = OPERATORS[name].sharp_as or name
    reached = math.isclose(mixed(sharp, uniform(_IMAGES, n), k, soft), wanted, rel_tol=0.05)
    return gap(name, uniform(2 * _IMAGES, n), k, soft) if reached else None


def _select(
    name: OperatorName, scores: Float[Tensor, "B N"], k: int, softness: float
) -> Float[Tensor, "B K N"]:
    source = torch.Generator().manual_seed(1)
    return select(name, scores, k, softness, source).dense(scores.shape[1])
