"""Differentiable sorting networks of the package difftopk."""

from contextlib import redirect_stdout
from functools import lru_cache
from io import StringIO
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.paper.operators.dense import dense
from foveal.topk import Selection


def network(
    scores: Float[Tensor, "B N"], k: int, softness: float, _: torch.Generator | None
) -> Selection:
    """A bitonic network whose exchanges are relaxed by Cauchy's law, the package's default.

    References:
        Petersen et al., Differentiable Top-k Classification Learning, ICML 2022.
    """
    built = _network(scores.shape[1], k, str(scores.device))
    built.steepness = 1 / softness
    rising: Tensor = built(scores.float())[1]  # (B, N, K)
    return dense(rising.transpose(1, 2).flip(1).to(scores.dtype))


@lru_cache(maxsize=1)
def _network(n: int, k: int, device: str) -> Any:
    with redirect_stdout(StringIO()):  # it prints that a package for other networks is missing
        from difftopk import DiffTopkNet

    return DiffTopkNet("bitonic", n, k, device=device)
