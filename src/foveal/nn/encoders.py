"""Encoders: from patches (B, C, h, w) to features (B, D), D as `encoder.features`."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from foveal._precision import widened
from foveal.nn.backbones import Statistic, backbone, feature_map, pixel_statistics
from foveal.nn.layers import Pool, pool_over
from foveal.nn.protocols import Encoder


def encode(encoder: Encoder, patches: Float[Tensor, "B K C h w"]) -> Float[Tensor, "B K D"]:
    """Encode every patch of every image; features are at least as precise as the patches."""
    flat = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    features: Tensor = encoder(flat)  # (B K, D)
    return widened(features, patches).reshape(*patches.shape[:2], -1)


class Backbone(nn.Module):
    """Any timm network that gives feature maps, pooled over the patch.

    Args:
        name: name of the network in timm, "resnet18" for instance.
        stage: number of the feature map, 0 the finest, -1 the last.
        weights: file of a state dict (.pt or .safetensors) with the network's own key names.
        pretrained: download timm's weights instead.
        channels: channels of the patches.
        zoom: patches are enlarged by this factor before the network sees them. Pretrained networks
            know things that fill 224 px; small ones are read better enlarged.
        pool: reduction of the feature map (B, D, g, v): "mean"; or "avgmax", the mean of mean and
            maximum, in which a thing that is much smaller than the patch is not lost.
        mean: mean of each channel of the pixels that the network was trained on; default: that of
            timm's weights for it.
        std: standard deviation of each channel; default: likewise.

    Raises:
        UserError: there is no such network or stage, or the weights cannot be had or do not fit.
        ValueError: mean or std do not fit the channels.
    """

    def __init__(
        self,
        name: str = "resnet18",
        *,
        stage: int = -1,
        weights: Path | str | None = None,
        pretrained: bool = False,
        channels: int = 3,
        zoom: float = 1.0,
        pool: Pool = "mean",
        mean: Statistic | None = None,
        std: Statistic | None = None,
    ) -> None:
        super().__init__()
        self.name, self.stage, self.channels = name, stage, channels
        self.zoom, self.pool = zoom, pool
        self.network = backbone(
            name, stage, channels=channels, weights=weights, pretrained=pretrained
        )
        self.mean, self.std = pixel_statistics(self.network, channels, mean, std)
        self.features: int = self.network.feature_info.channels()[-1]
        self.stride: int = self.network.feature_info.reduction()[-1]

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        if self.zoom != 1:
            size = [round(self.zoom * side) for side in patches.shape[2:]]
            patches = interpolate(patches, size=size, mode="bilinear", align_corners=False)
        return pool_over(self.maps(patches), self.pool, (2, 3))

    def maps(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D g v"]:
        """Return the feature maps before they are pooled; cells are `stride` pixels apart."""
        return feature_map(self.network, images, self.mean, self.std)


class ThinResNet(nn.Module):
    """The thin residual network of attention sampling: 32 filters, three blocks of stride 2.

    About 60 000 parameters; the final map of a patch of 100 px is 13 x 13.

    Args:
        channels: channels of the patches.
        width: number of filters and of features.
        pool: reduction of the final map (B, D, h, w): "mean", as published, or "amax", which
            finds a small thing anywhere in the patch sooner.

    References:
        Katharopoulos & Fleuret, Processing Megapixel Images with Deep Attention-Sampling Models,
        ICML 2019; Cordonnier et al., CVPR 2021 (its released `ATSFeatureNetwork`, which does not
        normalise its features although it says so).
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        width: int = 32,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        self.channels, self.width, self.pool = channels, width, pool
        self.features = width
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(3)))
        self.norm = nn.BatchNorm2d(width)

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        maps: Tensor = self.norm(self.blocks(self.stem(patches)))
        return pool_over(torch.relu(maps), self.pool, (2, 3))


class _Block(nn.Module):
    """Pre-activation residual block of stride 2; the shortcut starts from the activated input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(width, width, 1, bias=False)
        self.conv1 = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D g v"]:
        active = torch.relu(self.norm1(x))
        inner: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(active))))
        # The stride of 2 by hand: with 8 channels in channels-last layout, torch 2.13 crashes in
        # the gradient of a strided 1x1 convolution on some processors.
        shortcut: Tensor = self.shortcut(active[:, :, ::2, ::2])
        return inner + shortcut
