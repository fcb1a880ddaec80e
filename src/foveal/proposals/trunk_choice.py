"""Trunks from timm's networks: which layer suits a patch, and which normalisation its weights."""

from pathlib import Path

from torch import nn

from foveal.errors import UserError
from foveal.nn.encoders import Backbone, backbone
from foveal.proposals.trunk import IMAGENET_DEVIATION, IMAGENET_MEAN, Trunk

_CELLS_PER_PATCH = 8  # along a side


def trunk_by_name(
    name: str, *, patch: tuple[int, int], channels: int = 3, weights: Path | None = None
) -> Trunk:
    """A timm network up to the layer that sees a patch as about 8 x 8 cells.

    Args:
        name: a timm network that gives feature maps, "resnet18" for instance.
        patch: (h, w) in pixels.
        channels: of the images.
        weights: a state dict (.pt or .safetensors) with the network's key names; None: timm's
            own, from its hub.

    Raises:
        UserError: no such network, or the weights do not fit or cannot be had.
    """
    layers = backbone(name, 0, None, channels).feature_info.info
    stride = min(patch) / _CELLS_PER_PATCH
    stage = max((i for i, each in enumerate(layers) if each["reduction"] <= stride), default=0)
    try:
        return trunk_of(
            Backbone(
                name,
                stage=stage,
                weights=weights,
                pretrained=weights is None,
                channels=channels,
            )
        )
    except OSError as error:
        raise UserError(
            f"timm's weights of {name!r} cannot be had ({error}); give a file of weights"
        ) from error


def trunk_of(encoder: Backbone) -> Trunk:
    """The frozen copy of an encoder's network, with the normalisation of its weights' config."""
    network = encoder.network
    config = getattr(network, "pretrained_cfg", None) or {}
    mean, deviation = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_DEVIATION)
    convolutions = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    channels = next(convolutions).in_channels
    if channels != len(mean):
        mean, deviation = ((sum(values) / len(values),) * channels for values in (mean, deviation))
    return Trunk(network, mean=mean, deviation=deviation)
