"""Scorers of windows of several sizes at once, on the features of the whole image.

features (B, D, h, w) -> raw scores (B, N), one per window of `foveal.paper.nn.anchors`
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.paper.nn.anchors import ASPECTS, LEVELS

Exchange = Callable[[list[Tensor]], list[Tensor]]


class AnchorScorer(nn.Module):
    """NTS-Net's proposal network: three maps, each half as fine as the one before.

    3x3 convolutions with ReLU of strides 1, 2 and 2, and on each map a 1x1 convolution to a score
    for every window size centred on the cell.

    Args:
        features: D of the map it scores, whose cells are 32 px apart.
        width: channels of the three maps.
        exchange: module from the maps to maps of the same shapes, applied before they are scored,
            such as `SqueezeExcitation` or `Attention`; None: the maps as they are.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018, section 3.
    """

    def __init__(
        self, features: int, *, width: int = 128, exchange: Exchange | None = None
    ) -> None:
        super().__init__()
        self.features, self.width, self.exchange = features, width, exchange
        self.down = nn.ModuleList(
            nn.Conv2d(channels, width, 3, stride, padding=1)
            for channels, stride in ((features, 1), (width, 2), (width, 2))
        )
        self.score = nn.ModuleList(
            nn.Conv2d(width, len(level.scales) * len(ASPECTS), 1) for level in LEVELS
        )

    def forward(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B N"]:
        """Score every window."""
        maps: list[Tensor] = []
        for down in self.down:
            features = torch.relu(down(features))
            maps.append(features)
        if self.exchange is not None:
            maps = self.exchange(maps)
        scores = [score(each).flatten(1) for score, each in zip(self.score, maps, strict=True)]
        return torch.cat(scores, dim=1).float()


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


class Attention(nn.Module):
    """Self-attention among all positions of all maps, with a learned vector per position.

    Args:
        positions: number of positions of all maps together: 261 for 448 x 448 pixels.
        width: channels of the maps.
        num_layers: number of layers.
        heads: number of attention heads; divides the width.
        dropout: probability, in [0, 1); off in evaluation, unlike in the paper's code.

    References:
        Cordonnier et al., CVPR 2021: an option of its released code.
    """

    def __init__(
        self,
        positions: int = 261,
        width: int = 128,
        *,
        num_layers: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.positions, self.width, self.num_layers = positions, width, num_layers
        self.heads, self.dropout = heads, dropout
        self.place = nn.Parameter(torch.empty(positions, width))
        nn.init.normal_(self.place, std=0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Attend over all maps (B, width, h, w), and return maps of the same shapes."""
        tokens = torch.cat([each.flatten(2) for each in maps], dim=2).transpose(1, 2)
        joined = self.layers(tokens + self.place).transpose(1, 2)  # (B, width, positions)
        pieces = joined.split([each[0, 0].numel() for each in maps], dim=2)
        return [piece.view_as(each) for piece, each in zip(pieces, maps, strict=True)]
