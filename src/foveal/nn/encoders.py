"""Encoders: from patches (B, C, h, w) to features (B, D), D as `encoder.features`."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

import foveal._torchvision  # noqa: F401  # timm imports torchvision
from foveal.errors import UserError
from foveal.nn.protocols import Encoder

# Mean and deviation of ImageNet's pixels, which nearly every published weight expects.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def encode(encoder: Encoder, patches: Float[Tensor, "B K C h w"]) -> Float[Tensor, "B K D"]:
    """The features of every patch of every image."""
    looks = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    features: Tensor = encoder(looks)  # (B K, D)
    return features.view(*patches.shape[:2], -1)


def standardised(images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """Pixels in [0, 1] as networks trained on ImageNet expect them; other channel counts about
    0.5."""
    if images.shape[1] != 3:
        return (images - 0.45) / 0.225
    mean = torch.tensor(_MEAN, dtype=images.dtype, device=images.device)[:, None, None]
    deviation = torch.tensor(_DEVIATION, dtype=images.dtype, device=images.device)[:, None, None]
    return (images - mean) / deviation


class Backbone(nn.Module):
    """Any timm network by name, averaged over what is left of the patch.

    Args:
        name: a timm network that gives feature maps, "resnet18" for instance.
        stage: which of its feature maps to stop at, 0 the finest, -1 the last.
        weights: a state dict (.pt or .safetensors) with the network's own key names, or None.
        pretrained: download timm's weights instead.
        channels: of the patches.
        bare_stem: leave out the ReLU after the first batch norm of a ResNet, and let that norm
            remember its last 100 steps instead of 10, as the paper's code does. Published weights
            are made for the ReLU.

    Raises:
        UserError: there is no such network, no such stage or no such stem, or the weights do not
            fit.
    """

    def __init__(
        self,
        name: str = "resnet18",
        *,
        stage: int = -1,
        weights: Path | None = None,
        pretrained: bool = False,
        channels: int = 3,
        bare_stem: bool = False,
    ) -> None:
        super().__init__()
        self.network = backbone(name, stage, weights, channels, pretrained=pretrained)
        if bare_stem:
            _bare(self.network, name)
        self.features: int = self.network.feature_info.channels()[-1]
        self.stride: int = self.network.feature_info.reduction()[-1]

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        return self.maps(patches).mean(dim=(2, 3))

    def maps(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D g v"]:
        """The feature maps before they are averaged; cells are `stride` pixels apart."""
        feature_map: Tensor = self.network(standardised(images))[-1]
        return feature_map


class ThinResNet(nn.Module):
    """The thin residual network of attention sampling: 32 filters, three blocks of stride 2.

    About 60 000 parameters; a patch of 100 px ends as 13 x 13.

    Args:
        channels: of the patches.
        width: number of filters, and of features.
        pool: what becomes of the final map (B, D, h, w): `torch.mean`, as published, or
            `torch.amax`, which finds a small thing anywhere in the patch sooner.

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
        pool: Callable[[Tensor, tuple[int, int]], Tensor] = torch.mean,
    ) -> None:
        super().__init__()
        self.features = width
        self.pool = pool
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(3)))
        self.norm = nn.BatchNorm2d(width)

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        feature_map: Tensor = self.norm(self.blocks(self.stem(patches)))
        return self.pool(torch.relu(feature_map), (2, 3))


class ShallowNet(nn.Module):
    """The network of attention sampling for digits: four convolutions and the maximum over the map.

    7x7, then three of 3x3, without padding, ReLU after each: a feature sees 13 x 13 px. About
    30 000 parameters.

    Args:
        channels: of the patches.
        width: number of filters, and of features.

    References:
        Katharopoulos & Fleuret, ICML 2019 (its released code, `mnist.py`).
    """

    def __init__(self, channels: int = 1, *, width: int = 32) -> None:
        super().__init__()
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
        feature_map: Tensor = self.layers(patches)
        return feature_map.amax(dim=(2, 3))


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
        # A stride of 2, by hand: torch 2.13 crashes in its gradient on some processors, where there
        # are 8 channels and they lie last.
        shortcut: Tensor = self.shortcut(active[:, :, ::2, ::2])
        return inner + shortcut


class WhatAndWhere(nn.Module):
    """Plain convolutions, and of every filter how strongly it answers and where in the patch.

        features = ( max_p f_d(p),  sum_p softmax_p(f_d)(p) p )      p = (y, x) in -1..1

    The first convolution is 5x5, the others 3x3; it and all that widen the network have stride 2,
    so a step costs a third of a `ThinResNet`'s. A maximum alone forgets where in the patch a thing
    was seen: which of two is further to the left can then be told to a window's stride at best.

    Args:
        channels: of the patches.
        widths: number of filters of each convolution; three features a filter of the last.

    References:
        Levine et al., End-to-End Training of Deep Visuomotor Policies, JMLR 2016 (the expected
        place).
    """

    def __init__(self, channels: int = 3, *, widths: Sequence[int] = (24, 48, 48, 96)) -> None:
        super().__init__()
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
        answers: Tensor = self.layers(patches)  # (B, D/3, g, v)
        share = answers.flatten(2).softmax(dim=2).view_as(answers)
        rows, columns = (
            torch.linspace(-1, 1, side, dtype=answers.dtype, device=answers.device)
            for side in answers.shape[2:]
        )
        y = (share.sum(dim=3) * rows).sum(dim=2)
        x = (share.sum(dim=2) * columns).sum(dim=2)
        return torch.cat((answers.amax(dim=(2, 3)), y, x), dim=1)


def backbone(
    name: str, stage: int, weights: Path | None, channels: int, *, pretrained: bool = False
) -> Any:
    """A timm network up to one of its feature maps, with weights from a file where given.

    Raises:
        UserError: timm has no such network, the network no such stage, or the weights do not fit.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        close = (
            ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "timm.list_models() has them all"
        )
        raise UserError(f"timm has no network {name!r}; did you mean: {close}?")
    if stage < 0:
        whole: Any = timm.create_model(name, features_only=True)
        stage += len(whole.feature_info.channels())
    try:
        network = timm.create_model(
            name, features_only=True, out_indices=(stage,), in_chans=channels, pretrained=pretrained
        )
    except (AssertionError, IndexError, RuntimeError) as error:
        raise UserError(f"the network {name!r} gives no feature map {stage}: {error}") from error
    if weights is not None:
        _fill(network, weights)
    return network


def _bare(network: nn.Module, name: str) -> None:
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


def _fill(network: nn.Module, path: Path) -> None:
    """Load the weights the network has; a file may hold more (later stages, a classifier)."""
    try:
        if Path(path).suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no weights at {path}: give the path of a .pt or .safetensors") from error
    except Exception as error:
        raise UserError(f"cannot read weights from {path}: {error}".splitlines()[0]) from error
    own = network.state_dict()
    missing = [key for key in own if key not in state and "num_batches" not in key]
    if missing:
        raise UserError(
            f"the weights in {path} lack {len(missing)} of {len(own)} tensors of the network, "
            f"{missing[0]} for instance: choose an earlier stage or the network they were made for"
        )
    fitting = {key: value for key, value in state.items() if key in own}
    wrong = [key for key, value in fitting.items() if value.shape != own[key].shape]
    if wrong:
        raise UserError(
            f"the weights in {path} have another shape at {wrong[0]}: "
            f"{tuple(fitting[wrong[0]].shape)}, the network {tuple(own[wrong[0]].shape)}"
        )
    network.load_state_dict(fitting, strict=False)
