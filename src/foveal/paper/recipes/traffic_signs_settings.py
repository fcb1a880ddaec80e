"""The settings of the models that are compared on traffic signs, and how each was published.

Importing this does not import torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from foveal._checks import check_choices, check_class_weights, check_least, check_size
from foveal.settings import Decay, Optimisation, Size

SignsModelName = Literal["patches", "attention_sampling", "iterative"]


@dataclass(frozen=True, kw_only=True)
class SignsModel:
    """Which model is trained, and what it sees. What is not given is as published.

    Attributes:
        model: patches, the paper's; attention_sampling, which draws its patches at random; or
            iterative, which sees all patches and keeps the best.
        view: height and width in pixels of the small view of the whole scene that is scored; not
            used by iterative; published: 320 x 426 px for patches, 288 x 384 px for
            attention_sampling.
        patch: side of a patch in pixels of the full scene.
        k: number of patches per scene; published: 5, and 10 for iterative.
        grid: rows and columns of the patches that iterative sees.
        at_once: number of them that are encoded together.
        encoder: timm network for the patches, or thin for the one of 60 000 parameters; published:
            thin, and resnet18 for iterative.
        weights: file of pretrained weights (.pt or .safetensors) for a timm encoder.
        smoothing: fraction of the attention that is spread evenly over all windows, for
            attention_sampling.
    """

    model: SignsModelName = "patches"
    view: Size | None = None
    patch: int = 100
    k: int | None = None
    grid: Size = (12, 16)
    at_once: int = 32
    encoder: str | None = None
    weights: Path | None = None
    smoothing: float = 1e-4

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("patch", "k", "at_once"), 1)
        check_least(self, ("smoothing",), 0)
        check_size("view", self.view)
        check_size("grid", self.grid)


@dataclass(frozen=True, kw_only=True)
class SignsOptimisation:
    """How the weights are optimised. What is not given is as published for the model.

    Attributes:
        steps: number of training steps; published: 70 000 for patches, 11 700 for
            attention_sampling, 7000 for iterative.
        batch: images per step, over all devices; published: 32, 32 and 16.
        learning_rate: peak learning rate; published: 1e-4; 1e-3, a tenth of it after half of the
            steps; and 3e-4.
        weight_decay: a step takes away learning_rate x weight_decay of each weight but biases and
            norms; published: 1.0, which is what the paper's code does with 1e-4; 0; and 0.1.
        clip_value: each entry of the gradient is clipped to +- this; published: 0.1 for patches.
        clip_norm: the gradient is scaled down to this norm; published: 1.0 for attention_sampling.
        warm_up: fraction of the steps in which the learning rate rises from 0; published: 0.1, 0
            and 1/15.
        entropy: weight of the reward for a high entropy of the scores; published: 0.01, 0.05 and 0.
        sigma_schedule: decay of sigma over the steps, to 0 or constant.
        balance: let rare classes count as much as frequent ones; published: yes, but for patches.
        class_weights: weight of each class in the loss, in the order of the classes; takes the
            place of balance.
        accumulate: number of parts that a batch is split into to save memory.
        validate_every: steps between validations (0: a seventieth of the steps, at least 100).
        log_every: steps between rows of metrics.csv.
    """

    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    clip_value: float | None = None
    clip_norm: float | None = None
    warm_up: float | None = None
    entropy: float | None = None
    sigma_schedule: Decay = "linear"
    balance: bool | None = None
    class_weights: tuple[float, ...] | None = None
    accumulate: int = 1
    validate_every: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        """Check what `Optimisation` does not."""
        check_choices(self)
        check_least(self, ("steps", "batch"), 1)
        check_class_weights(self.class_weights)


PUBLISHED: dict[SignsModelName, tuple[dict[str, Any], dict[str, Any]]] = {
    "patches": (
        {"view": (320, 426), "k": 5, "encoder": "thin"},
        {
            "steps": 70_000,
            "batch": 32,
            "learning_rate": 1e-4,
            "weight_decay": 1.0,
            "clip_value": 0.1,
            "warm_up": 0.1,
            "entropy": 0.01,
            "balance": False,
        },
    ),
    "attention_sampling": (
        {"view": (288, 384), "k": 5, "encoder": "thin"},
        {
            "steps": 11_700,  # 500 epochs of 747 images
            "batch": 32,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "warm_up": 0.0,
            "entropy": 0.05,
            "balance": True,
        },
    ),
    "iterative": (
        {"k": 10, "encoder": "resnet18"},
        {
            "steps": 7000,  # 150 epochs, the learning rate rises in 10 of them
            "batch": 16,
            "learning_rate": 3e-4,
            "weight_decay": 0.1,
            "warm_up": 10 / 150,
            "entropy": 0.0,
            "balance": True,
        },
    ),
}
"""Fields of `SignsModel` and of `SignsOptimisation` that are filled in where they are not given."""


def complete(
    model: SignsModel, optimisation: SignsOptimisation
) -> tuple[SignsModel, SignsOptimisation]:
    """Fill in what is not given as it was published for the model."""
    sizes, rates = PUBLISHED[model.model]
    if optimisation.clip_value is not None or optimisation.clip_norm is not None:
        rates = {name: value for name, value in rates.items() if not name.startswith("clip_")}
    return _filled(model, sizes), _filled(optimisation, rates)


def _filled(group: Any, values: dict[str, Any]) -> Any:
    missing = {name: value for name, value in values.items() if getattr(group, name) is None}
    return replace(group, **missing)


def optimisation_of(
    model: SignsModelName, settings: SignsOptimisation, *, decay_all: bool
) -> Optimisation:
    """How the model is trained, from complete settings."""
    values = dict(vars(settings))
    del values["balance"]
    values["validate_every"] = settings.validate_every or max(100, values["steps"] // 70)
    if model == "attention_sampling":
        values |= {"schedule": "multi_step", "milestones": (0.5,)}
    return Optimisation(decay_all=decay_all, **values)
