"""Trunks from timm's networks: which layer suits a patch, and which normalisation its weights."""

from pathlib import Path

from foveal.nn.backbones import stage_by_stride
from foveal.nn.encoders import Backbone
from foveal.proposals.trunk import Trunk

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
    stage = stage_by_stride(name, min(patch) / _CELLS_PER_PATCH, weights)
    return trunk_of(
        Backbone(name, stage=stage, weights=weights, pretrained=weights is None, channels=channels)
    )


def trunk_of(encoder: Backbone) -> Trunk:
    """The frozen copy of an encoder's network, with the normalisation of its weights' config."""
    return Trunk(encoder.network, mean=encoder.mean, deviation=encoder.std)
