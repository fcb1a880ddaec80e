"""A patch classifier in one line, from the name of a timm network."""

from pathlib import Path
from typing import NamedTuple, get_args

from foveal.models.classifier import PatchClassifier
from foveal.nn import aggregators
from foveal.nn.backbones import read_weights
from foveal.nn.encoders import Backbone, ThinResNet
from foveal.nn.global_head import GlobalHead
from foveal.nn.protocols import Aggregate, Encoder, Scorer
from foveal.nn.scorers import BackboneScorer, ConvScorer
from foveal.nn.selectors import TopK
from foveal.settings import AnyAggregator, EncoderPool, Estimator, Mask


class WeightSource(NamedTuple):
    """Where the first weights of a timm network come from, and the channels it takes."""

    weights: Path | str | None
    pretrained: bool
    channels: int


def patch_classifier(
    encoder: str = "resnet18",
    *,
    classes: int,
    view: tuple[int, int],
    patch: int | tuple[int, int],
    k: int,
    pretrained: bool = False,
    weights: Path | str | None = None,
    encoder_stage: int = -1,
    zoom: float = 1.0,
    encoder_pool: EncoderPool = "mean",
    scorer: str | None = None,
    scorer_stage: int = 2,
    freeze_scorer: bool = False,
    scorer_width: int = 0,
    apart: int = 0,
    mask: Mask = "nodata",
    aggregator: AnyAggregator = "max",
    global_head: bool = False,
    glances: int = 1,
    closer: int = 4,
    regions: int = 8,
    sigma: float = 0.05,
    estimator: Estimator = "exact",
    channels: int = 3,
) -> PatchClassifier:
    """Build a `PatchClassifier` around a timm network.

    >>> model = patch_classifier("test_resnet", classes=4, view=(64, 64), patch=32, k=3)
    >>> model.grid
    (7, 7)

    Args:
        encoder: name of the timm network that encodes the patches, any that gives feature maps; or
            "thin" for a small network trained from scratch.
        classes: number of classes.
        view: (h, w) of the small view that is scored, in pixels.
        patch: side or (h, w) of a patch, in pixels of the full-resolution image.
        k: number of patches per image.
        pretrained: download timm's weights.
        weights: file of pretrained weights (.pt or .safetensors), used instead of a download.
        encoder_stage: feature map of the encoder, 0 the finest, -1 the last.
        zoom: patches are enlarged by this factor before they are encoded.
        encoder_pool: how the encoder's feature map is reduced over a patch, see
            `foveal.nn.encoders.Backbone`.
        scorer: name of the timm network whose early stages score the view, or "conv" for four
            convolutions trained from scratch. Default: the encoder's if it is pretrained, else
            "conv".
        scorer_stage: feature map of the scorer.
        freeze_scorer: keep the network of the scorer fixed and train its last layers alone.
        scorer_width: filters between the network of the scorer and its score.
        apart: cells around a selected one that are not selected beside it, see `PatchClassifier`.
        mask: which windows are never selected, see `PatchClassifier`.
        aggregator: how the features of the patches are combined.
        global_head: let the view as a whole add to the answer, once that is fitted; takes a scorer
            from timm.
        glances: 1, or 2: the best regions of the view are scored again, and windows are selected
            in these, see `PatchClassifier`.
        closer: resolution of the second glance in that of the view.
        regions: the most regions that are looked at again.
        sigma: standard deviation of the noise on the scores, which lie in [0, 1].
        estimator: estimator of the gradient of the selection, see `foveal.topk.perturbed`.
        channels: channels of the images.

    Raises:
        UserError: timm has no such network, or the weights cannot be had or do not fit.
        ValueError: the parts do not fit each other, or the aggregator is unknown.
    """
    if weights is not None:
        read_weights(weights)  # a wrong file is an error even if no part takes weights
    source = WeightSource(weights, pretrained and weights is None, channels)
    if scorer is None:
        scorer = encoder if encoder != "thin" and (pretrained or weights is not None) else "conv"
    network: Encoder
    if encoder == "thin":
        network = ThinResNet(channels, width=64, pool=encoder_pool)
    else:
        network = Backbone(
            encoder, stage=encoder_stage, zoom=zoom, pool=encoder_pool, **source._asdict()
        )
    scoring: Scorer = ConvScorer(channels)
    whole = None
    if scorer != "conv":
        scoring = backbone = BackboneScorer(
            scorer,
            stage=scorer_stage,
            frozen=freeze_scorer,
            width=scorer_width,
            **source._asdict(),
        )
        whole = GlobalHead(backbone.depth, classes=classes) if global_head else None
    return PatchClassifier(
        scorer=scoring,
        select=TopK(k, sigma=sigma, estimator=estimator),
        encoder=network,
        aggregate=_aggregate(aggregator, network.features, classes),
        classes=classes,
        view=view,
        patch=(patch, patch) if isinstance(patch, int) else patch,
        channels=channels,
        apart=apart,
        mask=mask,
        global_head=whole,
        glances=glances,
        closer=closer,
        regions=regions,
    )


def _aggregate(name: AnyAggregator, features: int, classes: int) -> Aggregate:
    if name == "vote":
        return aggregators.Vote(features, classes=classes)
    if name == "max":
        return aggregators.max
    if name == "mean":
        return aggregators.mean
    if name == "transformer":
        return aggregators.Transformer(features, width=128, num_layers=1, heads=4)
    raise ValueError(f"unknown aggregator {name!r}: choose {', '.join(get_args(AnyAggregator))}")
