"""Layers that several parts of models use."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

Pool = Literal["amax", "mean", "sum"]


def pool_over(x: Tensor, pool: Pool, dim: int | tuple[int, ...]) -> Tensor:
    """Reduce axes to their largest value, their mean or their sum.

    >>> pool_over(torch.tensor([[1.0, 3.0]]), "mean", 1)
    tensor([2.])

    Raises:
        ValueError: the name of the reduction is unknown.
    """
    if pool == "amax":
        return x.amax(dim)
    if pool == "mean":
        return x.mean(dim)
    if pool == "sum":
        return x.sum(dim)
    raise ValueError(f"unknown pool {pool!r}: choose {', '.join(get_args(Pool))}")


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


class SqueezeExcitation(nn.Module):
    """Scale the channels of several maps by a function of their mean over all positions.

    Args:
        width: number of channels of the maps.
        reduction: factor by which the hidden layer is narrower.

    References:
        Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; Cordonnier et al., CVPR 2021,
        section 5.3.
    """

    def __init__(self, width: int = 128, *, reduction: int = 4) -> None:
        super().__init__()
        self.width, self.reduction = width, reduction
        self.layers = nn.Sequential(
            nn.Linear(width, width // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(width // reduction, width, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Scale the channels of every map (B, width, h, w)."""
        mean = torch.cat([each.flatten(2) for each in maps], dim=2).mean(dim=2)  # (B, width)
        scale = self.layers(mean)[..., None, None]
        return [each * scale for each in maps]
