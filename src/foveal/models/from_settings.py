"""The classifier that settings describe."""

from typing import Any

from torch import nn

from foveal import settings
from foveal.models.patch_classifier import PatchClassifier
from foveal.nn import aggregators
from foveal.nn.encoders import Backbone, ThinResNet
from foveal.nn.scorers import BackboneScorer, ConvScorer
from foveal.nn.selectors import TopK


def from_settings(
    model: settings.Model, selection: settings.Selection, *, classes: int
) -> nn.Module:
    """Build the classifier of complete settings.

    Args:
        model: what it sees and what it is made of.
        selection: how patches are selected in training.
        classes: number of classes.

    Raises:
        ValueError: view, patch or k are not given.
    """
    if model.view is None or model.patch is None or model.k is None:
        raise ValueError(
            f"view, patch and k must be given: got {model.view}, {model.patch}, {model.k}"
        )
    if model.encoder == "thin":
        encoder: Any = ThinResNet(width=64)
    else:
        encoder = Backbone(model.encoder, stage=model.encoder_stage, weights=model.weights)
    scorer: Any = ConvScorer()
    if model.scorer is not None:
        scorer = BackboneScorer(
            model.scorer,
            stage=model.scorer_stage,
            weights=model.weights,
            frozen=model.freeze_scorer,
        )
    aggregate: Any = {"max": aggregators.max, "mean": aggregators.mean}.get(model.aggregator)
    if aggregate is None:
        aggregate = aggregators.Transformer(encoder.features, width=128, num_layers=1, heads=4)
    return PatchClassifier(
        scorer=scorer,
        select=TopK(model.k, sigma=selection.sigma, estimator=selection.estimator),
        encoder=encoder,
        aggregate=aggregate,
        classes=classes,
        view=model.view,
        patch=(model.patch, model.patch),
    )
