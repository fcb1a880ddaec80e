"""Where the keywords of recipes before 0.2 went: for run folders that name them.

Values are unchanged but for these:

- `view` of billiards, billiards_mini, colon_cancer and megapixel_mnist: v -> (v, v);
- `class_weights` of traffic_signs: True or False -> the field `balance`, weights stay;
- `clip` of traffic_signs: the field `clip_value` if model is patches, else `clip_norm`;
- `join`, `sigma_schedule`, ...: same words.
"""

from __future__ import annotations

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
