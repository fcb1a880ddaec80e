"""The operators of this library, and the paper's listing."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveal import topk
from foveal.paper.benchmark import baselines
from foveal.paper.operators.dense import dense
from foveal.topk import Selection

SAMPLES = 500
"""Of the noise, as in the paper."""


def exact(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """The perturbed Top-K without samples; softness is the deviation of the noise."""
    return topk.perturbed(scores, k, softness)


def listing(
    scores: Float[Tensor, "B N"], k: int, softness: float, generator: torch.Generator | None
) -> Selection:
    """The perturbed Top-K as the paper lists it: every sample kept, the diagonal gradient.

    References:
        Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021,
        appendix H.
    """
    return dense(baselines.selection(scores, k, softness, SAMPLES, generator))


def sinkhorn(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """Entropic optimal transport to its optimum; softness is the weight of the entropy."""
    found = topk.sinkhorn(scores, k, epsilon=softness)
    return Selection(found.candidates, found.weights.flip(1))  # the best first
