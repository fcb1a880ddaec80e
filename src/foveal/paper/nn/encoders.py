"""Encoders that only the experiments of the paper use; see `foveal.nn.encoders`."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.errors import UserError
from foveal.nn.backbones import Statistic, backbone, feature_map, pixel_statistics


class ShallowNet(nn.Module):
    """The network of attention sampling for digits: four convolutions and the maximum over the map.

    7x7, then three of 3x3, without padding, ReLU after each: a feature sees 13 x 13 px. About
    30 000 parameters.

    Args:
        channels: channels of the patches.
        width: number of filters and of features.

    References:
        Katharopoulos & Fleuret, ICML 2019 (its released code, `mnist.py`).
    """

    def __init__(self, channels: int = 1, *, width: int = 32) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.features = width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 7),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
        )

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        maps: Tensor = self.layers(patches)
        return maps.amax(dim=(2, 3))


class WhatAndWhere(nn.Module):
    """Plain convolutions, and for every filter its largest response and where in the patch it is.

        features = ( max_p f_d(p),  sum_p softmax_p(f_d)(p) p )      p = (y, x) in -1..1

    The first convolution is 5x5, the others 3x3; the first and all that widen the network have
    stride 2. A training step costs a third of a `ThinResNet`'s. A maximum alone forgets where in
    the patch a thing is: which of two is further left is then known to a window's stride at best.

    Args:
        channels: channels of the patches.
        widths: number of filters of each convolution; the last gives three features per filter.

    References:
        Levine et al., End-to-End Training of Deep Visuomotor Policies, JMLR 2016 (the expected
        position).
    """

    def __init__(self, channels: int = 3, *, widths: Sequence[int] = (24, 48, 48, 96)) -> None:
        super().__init__()
        self.channels, self.widths = channels, tuple(widths)
        self.features = 3 * widths[-1]
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            side = 3 if layers else 5
            stride = 1 if layers and before == after else 2
            layers += (
                nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
        self.layers = nn.Sequential(*layers)

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        responses: Tensor = self.layers(patches)  # (B, D/3, g, v)
        share = responses.flatten(2).softmax(dim=2).view_as(responses)
        rows, columns = (
            torch.linspace(-1, 1, side, dtype=responses.dtype, device=responses.device)
            for side in responses.shape[2:]
        )
        y = (share.sum(dim=3) * rows).sum(dim=2)
        x = (share.sum(dim=2) * columns).sum(dim=2)
        return torch.cat((responses.amax(dim=(2, 3)), y, x), dim=1)


class BareStemResNet(nn.Module):
    """`foveal.nn.encoders.Backbone` of a ResNet as the paper's code has it: with a bare stem.

    There is no ReLU after the first batch norm, and that norm remembers its last 100 steps instead
    of 10. Published weights are made for the ReLU.

    Args:
        name: name of the ResNet in timm.
        stage: number of the feature map, 0 the finest, -1 the last.
        weights: file of a state dict (.pt or .safetensors) with the network's own key names.
        channels: channels of the patches.
        mean: mean of each channel of the pixels that the network was trained on; default: that of
            timm's weights for it.
        std: standard deviation of each channel; default: likewise.

    Raises:
        UserError: there is no such network, no such stage or no such stem, or the weights cannot
            be had or do not fit.
        ValueError: mean or std do not fit the channels.

    References:
        Cordonnier et al., CVPR 2021: its released code.
    """

    def __init__(
        self,
        name: str = "resnet18",
        *,
        stage: int = -1,
        weights: Path | str | None = None,
        channels: int = 3,
        mean: Statistic | None = None,
        std: Statistic | None = None,
    ) -> None:
        super().__init__()
        self.name, self.stage, self.channels = name, stage, channels
        self.network = backbone(name, stage, channels=channels, weights=weights)
        _remove_first_relu(self.network, name)
        self.mean, self.std = pixel_statistics(self.network, channels, mean, std)
        self.features: int = self.network.feature_info.channels()[-1]
        self.stride: int = self.network.feature_info.reduction()[-1]

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        return self.maps(patches).mean(dim=(2, 3))

    def maps(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D g v"]:
        """Return the feature maps before they are averaged; cells are `stride` pixels apart."""
        return feature_map(self.network, images, self.mean, self.std)


def _remove_first_relu(network: nn.Module, name: str) -> None:
    """Take the ReLU out of a stem of a convolution, a batch norm and a ReLU."""
    stem = {part: getattr(network, part, None) for part in ("conv1", "bn1", "act1")}
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    if not all(isinstance(*pair) for pair in zip(stem.values(), kinds, strict=True)):
        raise UserError(
            f"the network {name!r} does not begin with a convolution, a batch norm and a ReLU, so "
            "it has no bare stem: choose a ResNet such as resnet18 or resnet50"
        )
    network.get_submodule("bn1").momentum = 0.01  # type: ignore[assignment]
    network.act1 = nn.Identity()
