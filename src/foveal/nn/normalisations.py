"""Normalisations: raw scores (B, N) to the scale that sigma or epsilon of a selection is given in.

All that the released code offers. Any function of this shape may be a model's `normalise`, and
`named` makes one, or a chain of them, from words as that code has them:

    normalise=named("softmax|smoothing(0.1)")

References:
    Cordonnier et al., CVPR 2021, section 3 and the released code.
"""

import re
from collections.abc import Callable
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

Normalisation = Callable[[Tensor], Tensor]


def identity(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """The raw scores."""
    return scores


def min_max(scores: Float[Tensor, "B N"], epsilon: float = 1e-5) -> Float[Tensor, "B N"]:
    """Scale each image's scores to [0, 1], equal ones to 0; the paper's choice ("zerooneeps")."""
    low = scores.amin(dim=1, keepdim=True)
    high = scores.amax(dim=1, keepdim=True)
    return (scores - low) / (high - low + epsilon)


def zero_one(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Scale each image's scores to [0, 1] exactly; equal ones give NaN, which selections refuse."""
    return min_max(scores, epsilon=0.0)


def softmax(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Shares of each image's attention, which sum to one."""
    return torch.softmax(scores, dim=1)


def smoothing(share: float) -> Normalisation:
    """Give away a share of shares that sum to one, `softmax`'s for instance, to all N alike.

    >>> smoothing(0.5)(torch.tensor([[1.0, 0.0]]))
    tensor([[0.7500, 0.2500]])

    Args:
        share: 0 to 1.

    Raises:
        ValueError: the share lies outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share must lie in 0..1: got {share}")

    def smoothed(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        return scores * (1 - share) + share / scores.shape[1]

    return smoothed


def sigmoid(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Each score by itself to (0, 1)."""
    return torch.sigmoid(scores)


def layer_norm(scores: Float[Tensor, "B N"], epsilon: float = 1e-6) -> Float[Tensor, "B N"]:
    """Scale each image's scores to mean 0 and variance 1.

    The released code also learns a scale and an offset for each of the N windows: that is
    `torch.nn.LayerNorm(n, eps=1e-6)`, which may stand in this place.
    """
    return torch.nn.functional.layer_norm(scores, scores.shape[1:], eps=epsilon)


_PLAIN: dict[str, Normalisation] = {
    each.__name__: each for each in (identity, min_max, zero_one, softmax, sigmoid, layer_norm)
}


def named(words: str) -> Normalisation:
    """The normalisation of that name, or several in turn, parted by "|".

    >>> named("softmax|smoothing(0.5)")(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])

    Args:
        words: names of functions of this module; smoothing with its share, as above.

    Raises:
        ValueError: a name is none of them, or the share lies outside 0 to 1.
    """
    chain = [_one(word.strip()) for word in words.split("|")]

    def chained(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        return reduce(lambda found, normalise: normalise(found), chain, scores)

    return chain[0] if len(chain) == 1 else chained


def _one(word: str) -> Normalisation:
    if share := re.fullmatch(r"smoothing\((\d+|\d*\.\d+|\d+e-\d+)\)", word):
        return smoothing(float(share[1]))
    if word not in _PLAIN:
        raise ValueError(
            f"unknown normalisation {word!r}: choose {', '.join(_PLAIN)} or smoothing(SHARE), or "
            'several in turn, as in "softmax|smoothing(0.1)"'
        )
    return _PLAIN[word]
