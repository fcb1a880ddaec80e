"""The selection as a part of a model: soft while it trains, hard when it predicts."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.topk import Selection, hard, perturbed
from foveal.topk.perturbed import Estimator


class TopK(nn.Module):
    """`foveal.topk.perturbed` in training, `foveal.topk.hard` in evaluation.

    Args:
        k: number of slots.
        sigma: standard deviation of the noise on scores in [0, 1]; a training loop lowers the
            attribute `sigma` as it goes.
        estimator: of the gradient, see `foveal.topk.perturbed`.
        samples: noise draws for the sampling estimators.
    """

    def __init__(
        self, k: int, *, sigma: float = 0.05, estimator: Estimator = "exact", samples: int = 500
    ) -> None:
        super().__init__()
        self.k, self.sigma, self.estimator, self.samples = k, sigma, estimator, samples

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        if not self.training or not torch.is_grad_enabled():
            return hard(scores, self.k)
        return perturbed(scores, self.k, self.sigma, estimator=self.estimator, samples=self.samples)

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}, sigma={self.sigma}, estimator={self.estimator!r}"
