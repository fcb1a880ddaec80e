"""The models that are compared on traffic signs. Importing this does not import torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from foveal.paper.recipes.model_factory import ComparisonSelection, build_selector
from foveal.paper.recipes.traffic_signs_settings import SignsModel

if TYPE_CHECKING:
    from torch import nn

    from foveal.nn.protocols import Encoder


def build(
    model: SignsModel, selection: ComparisonSelection, classes: int, *, as_published: bool
) -> "nn.Module":
    """The model, from complete settings."""
    if model.model == "attention_sampling":
        return _attention_sampling(model, classes)
    if model.model == "iterative":
        return _iterative(model, classes)
    return _patches(model, selection, classes, as_published)


def build_encoder(name: str, weights: Path | None) -> "Encoder":
    """The thin network, or one of timm's."""
    from foveal.nn.encoders import Backbone, ThinResNet

    return ThinResNet() if name == "thin" else Backbone(name, weights=weights)


def _patches(
    model: SignsModel, selection: ComparisonSelection, classes: int, as_published: bool
) -> "nn.Module":
    from foveal.models import PatchClassifier
    from foveal.nn.aggregators import mean
    from foveal.nn.scorers import ConvScorer
    from foveal.paper.nn.grids import cordonnier_grid
    from foveal.paper.nn.normalisations import named_normalisation

    assert model.k is not None
    assert model.view is not None
    assert model.encoder is not None
    return PatchClassifier(
        scorer=ConvScorer(),
        select=build_selector(model.k, selection),
        encoder=build_encoder(model.encoder, model.weights),
        aggregate=mean,
        classes=classes,
        view=model.view,
        patch=(model.patch, model.patch),
        normalise=named_normalisation(selection.normalise),
        place=cordonnier_grid if as_published else None,
    )


def _attention_sampling(model: SignsModel, classes: int) -> "nn.Module":
    from foveal.models import AttentionSampling
    from foveal.nn.scorers import ConvScorer
    from foveal.nn.selectors import Sampling

    assert model.k is not None
    assert model.view is not None
    assert model.encoder is not None
    return AttentionSampling(
        scorer=ConvScorer(),
        select=Sampling(model.k),
        encoder=build_encoder(model.encoder, model.weights),
        classes=classes,
        view=model.view,
        patch=(model.patch, model.patch),
        smoothing=model.smoothing,
    )


def _iterative(model: SignsModel, classes: int) -> "nn.Module":
    from foveal.models import IterativePatchSelection
    from foveal.nn.cross_attention import CrossAttention

    assert model.k is not None
    assert model.encoder is not None
    encoder = build_encoder(model.encoder, model.weights)
    return IterativePatchSelection(
        encoder=encoder,
        aggregate=CrossAttention(encoder.features, heads=8),
        classes=classes,
        grid=model.grid,
        patch=(model.patch, model.patch),
        k=model.k,
        at_once=model.at_once,
    )
