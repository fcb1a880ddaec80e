"""Scorers: from a small view (B, C, h, w) of the whole image to a map of relevance (B, rows,
columns).

Cell (i, j) is centred on the point (offset + stride i, offset + stride j) of the view, in pixels
from the top left corner. The window of a cell is cut around the same point, so that a score and its
patch belong to the same thing.
"""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal._precision import full_precision, widened
from foveal.nn.alignment import cell_offset
from foveal.nn.backbones import Statistic, backbone, feature_map, pixel_statistics
from foveal.nn.protocols import Scorer
from foveal.nn.receptive_field import LARGE, Reach, cell_reach, in_strips


class ConvScorer(nn.Module):
    """The paper's scorer: four 3x3 convolutions without padding, then an 8x8 maximum.

    6 321 parameters for 3 channels. The map has ((h - 8) // 8, (w - 8) // 8) cells, and cell (i, j)
    sees the 16x16 pixels from (8 i, 8 j) on.

    Here the first filters start with zero mean and zero bias: an untrained scorer then responds to
    contrast and not to brightness, and finds things on light and on dark ground.

    Args:
        channels: channels of the view.
        pool: side and stride of the final maximum, in pixels of the view. 8 is the paper's; a
            smaller one gives a finer grid of windows.

    References:
        Cordonnier et al., CVPR 2021, appendix F.
    """

    def __init__(self, channels: int = 3, *, pool: int = 8) -> None:
        super().__init__()
        self.channels, self.pool = channels, pool
        self.stride = pool
        self.offset = 4 + pool / 2
        first = nn.Conv2d(channels, 8, 3)
        with torch.no_grad():
            first.weight -= first.weight.mean(dim=(2, 3), keepdim=True)
            first.get_parameter("bias").zero_()
        self.layers = nn.Sequential(
            first,
            nn.ReLU(),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 1, 3),
            nn.MaxPool2d(pool),
        )

    @property
    def reach(self) -> Reach:
        """The rows of pixels that a score depends on."""
        return Reach(0, 8 + self.pool)

    def forward(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B rows columns"]:
        """Score every cell."""
        if self.training:
            return self._scores(view)[:, 0]
        return in_strips(self._scores, view, stride=self.stride, reach=self.reach)[:, 0]

    def _scores(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 rows columns"]:
        scores: Tensor = self.layers(view)
        return scores


class BackboneScorer(nn.Module):
    """The early stages of a timm network, pretrained or not, and convolutions to one score.

    Args:
        name: name of the network in timm, "resnet18" for instance.
        stage: number of the feature map, 0 the finest; 2 has a stride of 8 pixels in a ResNet.
        weights: file of a state dict (.pt or .safetensors) with the network's own key names.
        pretrained: download timm's weights instead.
        channels: channels of the view.
        frozen: keep the network as it is and train what follows alone.
        width: filters of a 3x3 convolution before the last one, which then is 1x1; 0: a single 3x3
            convolution to the score.
        mean: mean of each channel of the pixels that the network was trained on; default: that of
            timm's weights for it.
        std: standard deviation of each channel; default: likewise.
        offset: centre of cell 0 in pixels of the view; default: measured, see
            `foveal.nn.alignment.cell_offset`.

    Raises:
        UserError: there is no such network or stage, or the weights cannot be had or do not fit.
        ValueError: mean or std do not fit the channels.

    References:
        Bergner et al., Iterative Patch Selection, ICLR 2023 (its Top-K baseline scores like this).
    """

    def __init__(
        self,
        name: str = "resnet18",
        *,
        stage: int = 2,
        weights: Path | str | None = None,
        pretrained: bool = False,
        channels: int = 3,
        frozen: bool = False,
        width: int = 0,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        offset: float | None = None,
    ) -> None:
        super().__init__()
        self.name, self.stage, self.channels, self.frozen = name, stage, channels, frozen
        self.width = width
        self.network = backbone(
            name, stage, channels=channels, weights=weights, pretrained=pretrained
        )
        self.mean, self.std = pixel_statistics(self.network, channels, mean, std)
        self.stride = int(self.network.feature_info.reduction()[-1])
        self.offset = cell_offset(name, stage) if offset is None else float(offset)
        self.depth: int = self.network.feature_info.channels()[-1]  # of the features
        self.score: nn.Module = (
            nn.Sequential(
                nn.Conv2d(self.depth, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 1, 1)
            )
            if width
            else nn.Conv2d(self.depth, 1, 3, padding=1)
        )
        self.network.requires_grad_(not frozen).train(not frozen)

    def train(self, mode: bool = True) -> "BackboneScorer":
        """Switch between training and prediction; a frozen network always predicts."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    @property
    def reach(self) -> Reach | None:
        """The rows of pixels that a score depends on; None: all of the view."""
        reach = cell_reach(self.name, self.stage)
        if reach is None:
            return None
        return Reach(reach.before + self.stride, reach.after + self.stride)  # a cell more

    def forward(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B rows columns"]:
        """Score every cell."""
        return self.score_features(self.features(view))

    def features(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D rows columns"]:
        """Return what the network makes of the view, at least as precise as the view.

        A large view is computed in strips, unless the network learns from it.
        """
        return widened(self._maps(view), view)

    def _maps(self, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D rows columns"]:
        maps = partial(feature_map, self.network, mean=self.mean, std=self.std)
        if self.network.training or view.shape[2] * view.shape[3] <= LARGE:
            return maps(view)
        reach = cell_reach(self.name, self.stage)
        return in_strips(maps, view, stride=self.stride, reach=reach)

    def score_features(
        self, features: Float[Tensor, "B D rows columns"]
    ) -> Float[Tensor, "B rows columns"]:
        """Score every cell by its features."""
        with full_precision(features.device):
            scores: Tensor = self.score(features)
        return scores[:, 0]


def score(scorer: Scorer, view: Float[Tensor, "B C h w"]) -> Float[Tensor, "B N"]:
    """Score every window; only the network of a `BackboneScorer` is subject to autocast."""
    is_rounded = isinstance(scorer, BackboneScorer)
    with nullcontext() if is_rounded else full_precision(view.device):
        return scorer(view).flatten(1)


def entropy(scores: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Return the entropy of the softmax of raw scores, in nats: log N if all are equal, 0 if one
    is far above the others."""
    log_share = torch.log_softmax(scores, dim=1)
    return -(log_share.exp() * log_share).sum(dim=1)
