"""Weights of all candidates as a selection."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.topk import Selection


def dense(weights: Float[Tensor, "B K N"]) -> Selection:
    """The selection of which all N candidates are active."""
    batch, _, n = weights.shape
    return Selection(torch.arange(n, device=weights.device).expand(batch, n), weights)
