"""The models that are compared on one question, made of the same parts as far as they have them.

No recipe: what `billiards`, `billiards_mini` and `colon_cancer` share, and the words for a
selection. All is made from a recipe's settings, complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import nn

    from foveal.nn.protocols import Encoder, Place, Scorer, Selector

Model = Literal["patches", "attention_sampling", "iterative", "whole"]
Choice = Literal["top_k", "sinkhorn", "hard", "random"]
Join = Literal["transformer", "max", "mean"]
Question = Literal["max_left_right", "rightmost", "sum_modulo_10", "left_colour_min_max"]
Pace = Literal["linear", "cosine", "constant"]

DEFAULTS: Mapping[str, Any] = {
    "select": "top_k",
    "soft_evaluation": False,
    "epsilon": 1e-4,
    "normalise": "min_max",
    "mix_hard": 0.0,
    "mix_random": 0.0,
    "mix_dropped": 0.0,
    "join": "transformer",
    "coordinates": False,
    "downscale": 1,
}
"""Settings of a contender, for a recipe that has no keyword for them."""


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


def selector(settings: Mapping[str, Any]) -> Selector:
    """What selects the windows of "patches"."""
    from foveal.nn.selectors import Hard, Mixed, Random, Sinkhorn, TopK

    k, soft = settings["k"], settings["soft_evaluation"]
    sigma, estimator = settings["sigma"], settings["estimator"]
    makes: dict[Choice, Callable[[], Selector]] = {
        "top_k": lambda: TopK(k, sigma=sigma, estimator=estimator, soft_evaluation=soft),
        "sinkhorn": lambda: Sinkhorn(k, epsilon=settings["epsilon"], soft_evaluation=soft),
        "hard": lambda: Hard(k),
        "random": lambda: Random(k),
    }
    select = makes[settings["select"]]()
    chances = {name: settings[f"mix_{name}"] for name in ("hard", "random", "dropped")}
    return Mixed(select, **chances) if any(chances.values()) else select


def contender(
    settings: Mapping[str, Any], parts: Parts, *, classes: int, place: Place | None = None
) -> nn.Module:
    """The model of the settings.

    Args:
        settings: of the recipe; pictures, views and patches are square.
        parts: what it is made of.
        classes: number of classes.
        place: where the windows of "patches" lie; None: around the scorer's cells.
    """
    from foveal import models
    from foveal.nn import aggregators
    from foveal.nn.cross_attention import CrossAttention
    from foveal.nn.selectors import Sampling
    from foveal.paper.nn.normalisations import named_normalisation

    model, coordinates = settings["model"], settings["coordinates"]
    size, patch, k = settings["size"], settings["patch"], settings["k"]
    encoder = parts.encoder(5 if coordinates else 3)
    if model == "whole":
        smaller = size // settings["downscale"]
        small = None if smaller == size else (smaller, smaller)
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
    looks: dict[str, Any] = {
        "scorer": parts.scorer(),
        "encoder": encoder,
        "classes": classes,
        "view": (settings["view"],) * 2,
        "patch": (patch, patch),
    }
    if model == "attention_sampling":
        return models.AttentionSampling(select=Sampling(k), coordinates=coordinates, **looks)
    joins: dict[Join, Callable[[], Any]] = {
        "transformer": lambda: parts.transformer(encoder.features),
        "max": lambda: aggregators.max,
        "mean": lambda: aggregators.mean,
    }
    return models.PatchClassifier(
        select=selector(settings),
        aggregate=joins[settings["join"]](),
        normalise=named_normalisation(settings["normalise"]),
        place=place,
        **looks,
    )
