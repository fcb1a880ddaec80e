"""The models that are compared on one question, made of the same parts as far as they have them.

No recipe: what `billiards`, `billiards_mini` and `colon_cancer` share, and the words for a
selection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import nn

    from foveal.nn.parts import Encoder, Place, Scorer, Selector
    from foveal.recipes import Estimator

Model = Literal["patches", "attention_sampling", "iterative", "whole"]
Choice = Literal["top_k", "sinkhorn", "random"]
Join = Literal["transformer", "max", "mean"]
Question = Literal["max_left_right", "rightmost", "sum_modulo_10", "left_colour_min_max"]
Pace = Literal["linear", "cosine", "constant"]


class Parts(NamedTuple):
    """What models are made of; each part is made anew when it is called.

    Attributes:
        encoder: from the number of channels to a network for patches, or for the whole picture.
        scorer: of the view.
        transformer: from the number of features to what joins the patches.
        heads: of the attention that joins them in "iterative".
    """

    encoder: Callable[[int], Encoder]
    scorer: Callable[[], Scorer]
    transformer: Callable[[int], nn.Module]
    heads: int


def selector(
    choice: Choice,
    k: int,
    *,
    sigma: float,
    estimator: Estimator,
    epsilon: float,
    soft_evaluation: bool,
) -> Selector:
    """What selects the windows of "patches"."""
    from foveal.nn.selectors import Random, Sinkhorn, TopK

    if choice == "sinkhorn":
        return Sinkhorn(k, epsilon=epsilon, soft_evaluation=soft_evaluation)
    if choice == "random":
        return Random(k)
    return TopK(k, sigma=sigma, estimator=estimator, soft_evaluation=soft_evaluation)


def contender(
    model: Model,
    parts: Parts,
    *,
    select: Callable[[], Selector],
    join: Join,
    classes: int,
    size: int,
    view: int,
    patch: int,
    k: int,
    coordinates: bool,
    downscale: int,
    place: Place | None = None,
) -> nn.Module:
    """One of the models.

    Args:
        model: which.
        parts: what it is made of.
        select: makes what selects windows, of "patches".
        join: how patches are joined, in "patches".
        classes: number of classes.
        size: side of the pictures in pixels.
        view: side of the view.
        patch: side of a patch.
        k: how many patches are looked at.
        coordinates: whether the encoder of "attention_sampling" and "whole" sees where a pixel
            lies.
        downscale: how much smaller "whole" sees the picture.
        place: where the windows of "patches" lie; None: around the scorer's cells.
    """
    from foveal import models
    from foveal.nn import aggregators
    from foveal.nn.cross_attention import CrossAttention
    from foveal.nn.selectors import Sampling

    encoder = parts.encoder(5 if coordinates else 3)
    if model == "whole":
        small = None if downscale == 1 else (size // downscale,) * 2
        return models.WholeImage(
            encoder=encoder, classes=classes, size=small, coordinates=coordinates
        )
    if model == "iterative":  # neighbours overlap by half: nothing that fits is in none whole
        rows = 2 * size // patch - 1
        return models.IterativePatchSelection(
            encoder=encoder,
            aggregate=CrossAttention(
                encoder.features,
                heads=parts.heads,
                position=aggregators.FourierPosition(encoder.features),
            ),
            classes=classes,
            grid=(rows, rows),
            patch=(patch, patch),
            k=k,
        )
    scorer = parts.scorer()
    if model == "attention_sampling":
        return models.AttentionSampling(
            scorer=scorer,
            select=Sampling(k),
            encoder=encoder,
            classes=classes,
            coordinates=coordinates,
            view=(view, view),
            patch=(patch, patch),
        )
    return models.PatchClassifier(
        scorer=scorer,
        select=select(),
        encoder=encoder,
        aggregate=(
            parts.transformer(encoder.features)
            if join == "transformer"
            else {"max": aggregators.max, "mean": aggregators.mean}[join]
        ),
        classes=classes,
        view=(view, view),
        patch=(patch, patch),
        place=place,
    )
