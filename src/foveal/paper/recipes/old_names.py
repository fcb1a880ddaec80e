"""The keywords of the recipes of foveal 0.1, as run folders of format 1 name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Place = tuple[str, str | None]
"""The keyword of the recipe, and the field if that is a group."""


def _fields(group: str, *names: str, **renamed: str) -> dict[str, Place]:
    """Old keyword -> (group, field), for fields of the same name and for renamed ones."""
    same: dict[str, Place] = {name: (group, name) for name in names}
    return same | {old: (group, new) for old, new in renamed.items()}


def _keywords(*names: str) -> dict[str, Place | None]:
    """Keywords that stay as they are; `workers` belongs to the command."""
    return {**{name: (name, None) for name in names}, "workers": None}


_RATES = ("steps", "batch", "learning_rate", "weight_decay", "warm_up", "entropy")
_SELECTION = (
    "select",
    "sigma",
    "estimator",
    "epsilon",
    "soft_evaluation",
    "normalise",
    "mix_hard",
    "mix_random",
    "mix_dropped",
)
_PICTURES = ("question", "train", "validation", "test", "size", "balls")
_COMPARED = ("model", "view", "patch", "k", "coordinates", "downscale")

OLD_NAMES: dict[str, dict[str, Place | None]] = {
    "billiards": {
        **_keywords("data", "as_published", "seed"),
        **_fields("pictures", *_PICTURES, scenes="data_seed"),
        **_fields("model", *_COMPARED, join="aggregator"),
        **_fields(
            "networks",
            "encoder",
            layers="transformer_layers",
            heads="transformer_heads",
            width="transformer_width",
        ),
        **_fields("selection", *_SELECTION),
        **_fields("optimisation", *_RATES, "sigma_schedule", clip="clip_value"),
        **_fields("augmentation", "shift"),
    },
    "billiards_mini": {
        **_keywords("seed"),
        **_fields("pictures", *_PICTURES, "radius", "digit", "numbers", scenes="data_seed"),
        **_fields("model", *_COMPARED, join="aggregator"),
        **_fields(
            "networks",
            "pool",
            "widths",
            "octaves",
            tokens="transformer_width",
            layers="transformer_layers",
        ),
        **_fields("selection", *_SELECTION),
        **_fields(
            "optimisation",
            *_RATES,
            "sigma_schedule",
            "scorer_delay",
            scorer_learning_rate="scorer_lr_scale",
        ),
        **_fields("augmentation", "shift"),
    },
    "traffic_signs": {
        **_keywords("data", "classes", "as_published", "seed"),
        **_fields("model", "model", "view", "patch", "k", "grid", "at_once"),
        **_fields("model", "encoder", "weights", "smoothing"),
        **_fields("selection", *_SELECTION),
        **_fields("optimisation", *_RATES, "sigma_schedule", "class_weights", clip="clip_value"),
        **_fields("augmentation", "shift"),
    },
    "traffic_signs_cnn": {
        **_keywords("data", "classes", "seed"),
        **_fields("model", "encoder", "size", "coordinates"),
        **_fields("optimisation", "steps", "batch", "learning_rate", "weight_decay"),
        **_fields("optimisation", clip="clip_value"),
        **_fields("augmentation", "shift"),
    },
    "birds": {
        **_keywords("data", "classes", "full", "as_published", "seed"),
        **_fields("model", "variant", "k", "proposals", "exchange", "encoder", "weights"),
        **_fields("model", "whole", "size", "patch", "dropout"),
        **_fields("selection", "sigma", "estimator"),
        **_fields("optimisation", *_RATES, drops="milestones"),
    },
    "megapixel_mnist": {
        **_keywords("data", "seed"),
        **_fields("pictures", "task", "train", "validation", "test", "size", "digits"),
        **_fields("pictures", "equal", "noise"),
        **_fields("model", "model", "view", "pool", "patch", "k", "width"),
        **_fields("model", "replacement", "smoothing"),
        **_fields("selection", "sigma", "estimator"),
        **_fields("optimisation", "steps", "batch", "learning_rate", "entropy", clip="clip_norm"),
    },
    "colon_cancer": {
        **_keywords("data", "classes", "seed"),
        **_fields("division", "fold", "folds", "validation"),
        **_fields("model", "model", "view", "pool", "patch", "k", "width", join="aggregator"),
        **_fields("selection", "sigma", "estimator"),
        **_fields("optimisation", "steps", "batch", "learning_rate", "entropy", clip="clip_norm"),
        **_fields("augmentation", "flip"),
    },
}
"""Recipe -> old keyword -> its place; None: no longer needed."""


def rename_options(recipe: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `foveal.paper.recipes.build` from the settings of a run of format 1.

    The file of pretrained weights is left out: a checkpoint holds all weights.

    Raises:
        KeyError: names a setting that foveal 0.1 did not have.
    """
    options: dict[str, Any] = {}
    for old, value in settings.items():
        place = OLD_NAMES[recipe][old]
        if place is None or old == "weights":
            continue
        option = place[1] or place[0]
        if old == "view" and isinstance(value, int):  # a side, where it is height and width now
            value = (value, value)
        if old == "class_weights" and isinstance(value, bool):  # one keyword for two meanings
            option = "balance"
        if recipe == "traffic_signs" and old == "clip" and settings.get("model") != "patches":
            option = "clip_norm"  # of patches each entry is clipped
        options[option] = value
    return options
