"""Scoring windows of several sizes at once, on the features of the whole image.

features (B, D, h, w) -> raw scores (B, N), one for each window of `foveal.paper.nn.anchors`
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.nn.layers import SqueezeExcitation
from foveal.paper.nn.anchors import ASPECTS, LEVELS

__all__ = ["AnchorScorer", "Attention", "SqueezeExcitation"]

Exchange = Callable[[list[Tensor]], list[Tensor]]


class AnchorScorer(nn.Module):
    """NTS-Net's proposal network: three maps, each half as fine as the one before.

    3x3 convolutions with ReLU of strides 1, 2 and 2, and a 1x1 convolution on each map to a score
    for every size of window about the cell.

    Args:
        features: D of the map it scores, whose cells are 32 px apart.
        width: of the three maps.
        exchange: what passes between the maps before they are scored, or None;
            `SqueezeExcitation` or `Attention`.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018, section 3.
    """

    def __init__(
        self, features: int, *, width: int = 128, exchange: Exchange | None = None
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv2d(channels, width, 3, stride, padding=1)
            for channels, stride in ((features, 1), (width, 2), (width, 2))
        )
        self.exchange = nn.Identity() if exchange is None else exchange
        self.score = nn.ModuleList(
            nn.Conv2d(width, len(level.scales) * len(ASPECTS), 1) for level in LEVELS
        )

    def forward(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B N"]:
        """Score every window."""
        maps: list[Tensor] = []
        for down in self.down:
            features = torch.relu(down(features))
            maps.append(features)
        maps = self.exchange(maps)
        scores = [score(each).flatten(1) for score, each in zip(self.score, maps, strict=True)]
        return torch.cat(scores, dim=1).float()


class Attention(nn.Module):
    """Self-attention among all positions of all maps, each with a learned place.

    Args:
        positions: of all maps together: 261 for 448 x 448 pixels.
        width: of the maps.
        layers: number of layers.
        heads: number of attention heads; divides the width.
        dropout: chance, in [0, 1); off in evaluation, unlike in the paper's code.

    References:
        Cordonnier et al., CVPR 2021: an option of its released code.
    """

    def __init__(
        self,
        positions: int = 261,
        width: int = 128,
        *,
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.empty(positions, width))
        nn.init.normal_(self.place, std=0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Join the maps (B, width, h, w), and take them apart again."""
        tokens = torch.cat([each.flatten(2) for each in maps], dim=2).transpose(1, 2)
        joined = self.layers(tokens + self.place).transpose(1, 2)  # (B, width, positions)
        pieces = joined.split([each[0, 0].numel() for each in maps], dim=2)
        return [piece.view_as(each) for piece, each in zip(pieces, maps, strict=True)]
