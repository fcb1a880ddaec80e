"""The models that are compared on one question, built from the same parts.

Shared by `billiards`, `billiards_mini`, `colon_cancer` and, for its selection, `traffic_signs`.
Importing this does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from foveal._checks import check_choices, check_least, check_size
from foveal.paper.operators import RelaxationName
from foveal.settings import Aggregator, Estimator, Size

if TYPE_CHECKING:
    from torch import nn

    from foveal.nn.protocols import Encoder, Place, Scorer, Selector

ComparedModel = Literal["patches", "attention_sampling", "iterative", "whole"]
Select = Literal["top_k", "sinkhorn", "hard", "random", RelaxationName]


@dataclass(frozen=True, kw_only=True)
class ComparisonModel:
    """Which model is trained, what it sees, and how it combines its patches.

    Attributes:
        model: patches, this library's; or attention_sampling, iterative (iterative patch selection)
            or whole (the encoder on the whole image), built from the same parts.
        view: height and width in pixels of the small view of the whole image that is scored; not
            used by iterative and whole.
        patch: side of a patch in pixels of the full image.
        k: number of patches per image.
        aggregator: how patches combines its patches: transformer, max or mean.
        coordinates: give attention_sampling and whole two more channels that hold the position of
            every pixel.
        downscale: factor by which whole shrinks the image.
    """

    model: ComparedModel = "patches"
    view: Size
    patch: int
    k: int
    aggregator: Aggregator = "transformer"
    coordinates: bool = False
    downscale: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("patch", "k", "downscale"), 1)
        check_size("view", self.view)


@dataclass(frozen=True, kw_only=True)
class ComparisonSelection:
    """How the model patches selects its patches.

    Attributes:
        select: top_k, sinkhorn, hard (the scorer gets no gradient from the labels), random, or a
            differentiable Top-K of the literature, hard in evaluation.
        sigma: standard deviation of the noise on the scores, which lie in [0, 1], at the first
            step; 0 or more; for top_k. The softness of those of the literature.
        estimator: estimator of the gradient of top_k.
        epsilon: weight of the entropy in sinkhorn.
        soft_evaluation: predict with the mixed patches of training, for top_k and sinkhorn.
        normalise: scaling of the scores before the selection: min_max, zero_one, softmax, sigmoid,
            layer_norm, identity or smoothing(FRACTION), or several in a row separated by "|".
        mix_hard: probability that an image is seen with its K highest-scored patches in training.
        mix_random: probability that a patch is replaced by a random one in training.
        mix_dropped: probability that a candidate is left out in training, below 1.
    """

    select: Select = "top_k"
    sigma: float = 0.05
    estimator: Estimator = "exact"
    epsilon: float = 1e-4
    soft_evaluation: bool = False
    normalise: str = "min_max"
    mix_hard: float = 0.0
    mix_random: float = 0.0
    mix_dropped: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("sigma", "epsilon", "mix_hard", "mix_random", "mix_dropped"), 0)


class Parts(NamedTuple):
    """Constructors of what the models are built from.

    Attributes:
        encoder: from the number of channels to an encoder of patches or of the whole image.
        scorer: scorer of the view.
        transformer: from the number of features to the aggregator called transformer.
        heads: number of attention heads in the aggregator of iterative.
    """

    encoder: Callable[[int], Encoder]
    scorer: Callable[[], Scorer]
    transformer: Callable[[int], nn.Module]
    heads: int


def build_selector(k: int, selection: ComparisonSelection) -> Selector:
    """The selector of the model patches."""
    from foveal.nn.selectors import Hard, Random, Sinkhorn, TopK
    from foveal.paper.nn.selectors import Mixed, Relaxed

    s, soft = selection, selection.soft_evaluation
    own: dict[Select, Callable[[], Selector]] = {
        "top_k": lambda: TopK(k, sigma=s.sigma, estimator=s.estimator, soft_evaluation=soft),
        "sinkhorn": lambda: Sinkhorn(k, epsilon=s.epsilon, soft_evaluation=soft),
        "hard": lambda: Hard(k),
        "random": lambda: Random(k),
    }
    relaxed = partial(Relaxed, cast(RelaxationName, s.select), k, sigma=s.sigma)
    select = own.get(s.select, relaxed)()
    if not (s.mix_hard or s.mix_random or s.mix_dropped):
        return select
    return Mixed(select, hard=s.mix_hard, random=s.mix_random, dropped=s.mix_dropped)


def build_model(
    model: ComparisonModel,
    selection: ComparisonSelection,
    parts: Parts,
    *,
    image: int,
    classes: int,
    place: Place | None = None,
) -> nn.Module:
    """Build one of the compared models.

    Args:
        model: which model, and its sizes.
        selection: how the model patches selects.
        parts: constructors of its parts.
        image: height and width of an image in pixels.
        classes: number of classes.
        place: where the windows of the model patches lie; None: around the scorer's cells.
    """
    from foveal import models
    from foveal.nn.selectors import Sampling

    encoder = parts.encoder(5 if model.coordinates else 3)
    if model.model == "whole":
        side = image // model.downscale
        small = None if side == image else (side, side)
        return models.WholeImage(
            encoder=encoder, classes=classes, size=small, coordinates=model.coordinates
        )
    if model.model == "iterative":
        return _iterative(model, encoder, parts.heads, image, classes)
    common: dict[str, Any] = {
        "scorer": parts.scorer(),
        "encoder": encoder,
        "classes": classes,
        "view": model.view,
        "patch": (model.patch, model.patch),
    }
    if model.model == "attention_sampling":
        return models.AttentionSampling(
            select=Sampling(model.k), coordinates=model.coordinates, **common
        )
    return _patches(model, selection, parts, place, common)


def _patches(
    model: ComparisonModel,
    selection: ComparisonSelection,
    parts: Parts,
    place: Place | None,
    common: dict[str, Any],
) -> nn.Module:
    from foveal.models import PatchClassifier
    from foveal.nn import aggregators
    from foveal.paper.nn.normalisations import named_normalisation

    constructors: dict[Aggregator, Callable[[], Any]] = {
        "transformer": lambda: parts.transformer(common["encoder"].features),
        "max": lambda: aggregators.max,
        "mean": lambda: aggregators.mean,
    }
    return PatchClassifier(
        select=build_selector(model.k, selection),
        aggregate=constructors[model.aggregator](),
        normalise=named_normalisation(selection.normalise),
        place=place,
        **common,
    )


def _iterative(
    model: ComparisonModel, encoder: Encoder, heads: int, image: int, classes: int
) -> nn.Module:
    """Patches overlap by half: whatever is half as large as a patch lies whole in one of them."""
    from foveal.models import IterativePatchSelection
    from foveal.nn.aggregators import FourierPosition
    from foveal.nn.cross_attention import CrossAttention

    rows = 2 * image // model.patch - 1
    position = FourierPosition(encoder.features)
    return IterativePatchSelection(
        encoder=encoder,
        aggregate=CrossAttention(encoder.features, heads=heads, position=position),
        classes=classes,
        grid=(rows, rows),
        patch=(model.patch, model.patch),
        k=model.k,
    )
