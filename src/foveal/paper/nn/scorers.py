"""Scorers that only the experiments of the paper use; see `foveal.nn.scorers`."""

from jaxtyping import Float
from torch import Tensor, nn

from foveal.nn.scorers import ConvScorer
from foveal.paper.nn.pyramid import SqueezeExcitation


class TanhScorer(nn.Module):
    """The scorer of attention sampling for digits: three padded 3x3 convolutions, tanh between.

    The map has one cell per pixel of the view, and cell (i, j) sees the 7x7 pixels around it.

    Args:
        channels: channels of the view.

    References:
        Katharopoulos & Fleuret, ICML 2019 (its released code, `mnist.py`).
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.stride = 1
        self.offset = 0.5
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B rows columns"]:
        """Score every cell."""
        scores: Tensor = self.layers(view)
        return scores[:, 0]


def excited(scorer: ConvScorer) -> ConvScorer:
    """Add squeeze-excitation of reduction 16 after the second and the third convolution.

    As where the paper measures speed; 160 more parameters. The scorer is changed, and returned.
    """
    layers = list(scorer.layers)
    layers.insert(6, _Excitation(32))
    layers.insert(4, _Excitation(16))
    scorer.layers = nn.Sequential(*layers)
    return scorer


class _Excitation(nn.Module):
    """Squeeze-excitation of one map by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.exchange = SqueezeExcitation(width, reduction=16)

    def forward(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D h w"]:
        excited: Tensor = self.exchange([features])[0]
        return excited
