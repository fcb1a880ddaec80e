"""Dropout that does not end with training, as in published code."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LastingDropout(nn.Dropout):
    """Dropout in training and in evaluation.

    The released codes draw new masks in evaluation. Here every image gets the same mask, made from
    a seed, so that a prediction repeats itself and depends on the image alone; torch's default
    generator is not used.

    Args:
        p: probability that an entry is dropped, in [0, 1).
        seed: seed of the mask in evaluation.

    References:
        Cordonnier et al., CVPR 2021 (its released code: the transformer and the birds); Yang et
        al., ECCV 2018 (its released code).
    """

    def __init__(self, p: float, *, seed: int = 0) -> None:
        super().__init__(p)
        self.seed = seed

    def forward(self, x: Float[Tensor, " B *rest"]) -> Float[Tensor, " B *rest"]:
        """Drop entries, and scale up the others."""
        if self.training:
            return super().forward(x)
        source = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(x.shape[1:], generator=source) >= self.p
        return x * kept.to(x) / (1 - self.p)
