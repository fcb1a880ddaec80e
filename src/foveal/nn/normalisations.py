"""Normalisations: raw scores (B, N) to the scale that sigma or epsilon of a selection is given in.

Any function of this shape can be a model's `normalise`; options are set with `functools.partial`:

    normalise=partial(in_turn, steps=(softmax, partial(smoothing, share=0.1)))

References:
    Cordonnier et al., CVPR 2021, section 3 and the released code.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Normalisation = Callable[[Tensor], Tensor]


def identity(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Return the raw scores."""
    return scores


def min_max(scores: Float[Tensor, "B N"], epsilon: float = 1e-5) -> Float[Tensor, "B N"]:
    """Scale each image's scores to [0, 1], equal ones to 0; the paper's choice ("zerooneeps")."""
    low = scores.amin(dim=1, keepdim=True)
    high = scores.amax(dim=1, keepdim=True)
    return (scores - low) / (high - low + epsilon)


def zero_one(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Scale each image's scores to exactly [0, 1]; equal ones give NaN, which selections refuse."""
    return min_max(scores, epsilon=0.0)


def softmax(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Turn each image's scores into shares that sum to one."""
    return torch.softmax(scores, dim=1)


def smoothing(scores: Float[Tensor, "B N"], share: float) -> Float[Tensor, "B N"]:
    """Mix shares that sum to one, `softmax`'s for instance, with the uniform distribution.

    >>> smoothing(torch.tensor([[1.0, 0.0]]), share=0.5)
    tensor([[0.7500, 0.2500]])

    Args:
        scores: nonnegative; rows sum to one.
        share: share of the uniform distribution, 0 to 1.

    Raises:
        ValueError: the share lies outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in 0..1: got {share}")
    return scores * (1 - share) + share / scores.shape[1]


def sigmoid(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Map each score by itself to (0, 1)."""
    return torch.sigmoid(scores)


def layer_norm(scores: Float[Tensor, "B N"], epsilon: float = 1e-6) -> Float[Tensor, "B N"]:
    """Scale each image's scores to mean 0 and variance 1.

    The released code also learns a scale and an offset for each of the N windows: that is
    `torch.nn.LayerNorm(n, eps=1e-6)`, which can be used in its place.
    """
    return torch.nn.functional.layer_norm(scores, scores.shape[1:], eps=epsilon)


def in_turn(scores: Float[Tensor, "B N"], steps: Sequence[Normalisation]) -> Float[Tensor, "B N"]:
    """Apply several normalisations, one after the other.

    >>> in_turn(torch.tensor([[0.0, 0.0]]), steps=(softmax, min_max))
    tensor([[0., 0.]])
    """
    for step in steps:
        scores = step(scores)
    return scores
