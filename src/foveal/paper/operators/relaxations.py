"""The soft Top-K of the package SoftTorch, with its entropic regulariser and unscaled scores.

References:
    Paulus et al., SoftTorch, https://github.com/a-paulus/softtorch.
"""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.paper.operators.dense import dense
from foveal.topk import Selection

_SWEEPS = 1000


def softtorch_softsort(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """See `foveal.paper.operators.sorting.softsort`."""
    return _select(scores, k, softness, "softsort")


def softtorch_neuralsort(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """See `foveal.paper.operators.sorting.neuralsort`."""
    return _select(scores, k, softness, "neuralsort")


def softtorch_transport(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """Sinkhorn's sweeps, image by image, and an implicit gradient.

    As many sweeps at most as POT's default, a tenth of the package's own.
    """
    return _select(scores, k, softness, "ot")


def _select(scores: Float[Tensor, "B N"], k: int, softness: float, method: str) -> Selection:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about packages that other methods take
        import softtorch

        soft: Tensor = softtorch.topk(
            scores,
            k,
            dim=1,
            softness=softness,
            method=method,
            standardize=False,
            ot_kwargs={"sinkhorn_max_iter": _SWEEPS} if method == "ot" else None,
        ).indices
    return dense(soft / soft.sum(dim=2, keepdim=True))
