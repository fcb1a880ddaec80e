"""The K best candidates: how models predict, and the limit of no noise."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.errors import NotFiniteError
from foveal.topk.selection import Selection


def hard(scores: Float[Tensor, "B N"], k: int) -> Selection:
    """Select the k highest scores; slot j is the j-th of them in index order.

    Ties go to the lowest index, so the result does not depend on the device or the batch.

    Args:
        scores: relevance of the N candidates.
        k: number of slots, 1..N.

    Returns:
        A selection with M = K and one-hot rows, without gradient.

    Raises:
        ValueError: k lies outside 1..N, or a score is NaN or infinite.
    """
    check(scores, k)
    best = scores.detach().sort(dim=1, descending=True, stable=True).indices[:, :k]
    return Selection.one_hot(best.sort(dim=1).values, scores.dtype)


def check(scores: Float[Tensor, "B N"], k: int) -> None:
    """Raise an error with the values unless k of the scores can be selected."""
    check_shape(scores, k)
    check_finite(scores)


def check_shape(scores: Float[Tensor, "B N"], k: int) -> None:
    """Raise an error with the values unless scores of this shape allow a selection of k."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"scores must be a tensor of floats: got {kind}")
    if scores.ndim != 2:
        raise ValueError(f"scores must have shape (B, N): got {tuple(scores.shape)}")
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must lie in 1..N: got k={k} for N={scores.shape[1]} candidates")


def check_finite(scores: Float[Tensor, "B N"]) -> None:
    """Raise an error with the first NaN or infinite score; not checked in a compiled graph."""
    if torch.compiler.is_compiling():
        return
    bad = ~scores.detach().isfinite()
    if bad.any():
        image, number = bad.nonzero()[0].tolist()
        value = scores[image, number].item()
        raise NotFiniteError(
            f"scores must be finite: got {value} at image {image}, candidate {number} "
            f"({int(bad.sum())} such scores); is the learning rate too high?"
        )
