"""Layers that several parts of models share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LastingDropout(nn.Dropout):
    """Dropout in training, and in evaluation again.

    The released codes draw anew in evaluation. Here every image is met with the same mask from a
    seed, so that an answer repeats itself and depends on nothing but the image; no generator of
    torch's is touched.

    Args:
        p: chance that an entry is dropped, in [0, 1).
        seed: of the mask in evaluation.

    References:
        Cordonnier et al., CVPR 2021 (its released code: the transformer and the birds); Yang et
        al., ECCV 2018 (its released code).
    """

    def __init__(self, p: float, *, seed: int = 0) -> None:
        super().__init__(p)
        self.seed = seed

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        """Drop entries, and scale up those that are left."""
        if self.training:
            return super().forward(x)
        source = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(x.shape[1:], generator=source) >= self.p
        return x * kept.to(x) / (1 - self.p)


class SqueezeExcitation(nn.Module):
    """All positions of all maps together say which channels matter; the paper's default.

    Args:
        width: of the maps.
        reduction: what the width is divided by inside.

    References:
        Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; Cordonnier et al., CVPR 2021,
        section 5.3.
    """

    def __init__(self, width: int = 128, *, reduction: int = 4) -> None:
        super().__init__()
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
