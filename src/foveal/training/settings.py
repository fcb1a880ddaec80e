"""How a model is trained: plain numbers and words, that a recipe or a command line can give."""

import math
from dataclasses import dataclass

_CHOICES = {
    "optimiser": ("adamw", "sgd"),
    "schedule": ("cosine", "linear", "constant", "multi_step"),
    "sigma_schedule": ("linear", "cosine", "constant"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
}
_AT_LEAST_ONE = ("steps", "batch", "accumulate", "validate_every", "nodes", "log_every")
_NOT_NEGATIVE = (
    "learning_rate",
    "encoder_learning_rate",
    "scorer_learning_rate",
    "momentum",
    "entropy",
    "sigma",
    "shift",
    "seed",
    "workers",
)


@dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
        steps: number of steps of the optimiser.
        batch: images a step, over all devices.
        optimiser: "adamw" or "sgd".
        learning_rate: at its highest.
        encoder_learning_rate: what the learning rate of the encoder is multiplied by.
        scorer_learning_rate: what that of the scorer is multiplied by.
        scorer_delay: share of the steps in which the scorer stays as it began. Before the encoder
            can read anything, nothing tells the scorer where to look, and what it learns is noise.
        weight_decay: a step takes away learning_rate x weight_decay of each weight; biases and
            norms are spared. The paper's code does not multiply by the learning rate: its 1e-4 at a
            learning rate of 1e-4 is 1.0 here. With "sgd" it is part of the gradient, and so of the
            momentum. Below 0 weights grow, as they do in the paper's code for birds.
        decay_all: whether biases and norms decay, too, as they do in the paper's code.
        momentum: of "sgd".
        warm_up: share of the steps in which the learning rate rises from 0.
        schedule: of the learning rate after that: "cosine", "linear", "constant" or "multi_step".
        drops: shares of the steps, warm-up included, at which it falls to a tenth; of "multi_step".
        clip_value: each entry of the gradient is clipped to +- this; None: not at all.
        clip_norm: the gradient is shortened to this length; None: not at all.
        accumulate: parts that a batch is computed in, one after the other, to save memory. The step
            is the same but for rounding, batch norms, and class weights, which count by part.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        entropy: reward for a scorer that keeps its options open, see `foveal.objectives`.
        sigma: noise of the selection at the first step, on scores in [0, 1].
        sigma_schedule: "linear" to 0, the paper's, "cosine" or "constant".
        class_weights: relative cost of an error on each class; None: all the same.
        validate_every: steps between validations; there is always one at the end.
        shift: training images are moved at random by up to this many pixels.
        shift_share: and by up to this share of their height and width.
        colour: the brightness and contrast of training images are changed at random.
        flip: training images are mirrored at random.
        seed: all random numbers come from it.
        workers: processes that decode files; 0: none.
        devices: of each machine; -1: all.
        nodes: number of machines.
        accelerator: "auto", "cpu", "cuda" or "mps".
        log_every: steps between rows of metrics.csv.

    Raises:
        ValueError: a value lies outside its range.
    """

    steps: int = 1000
    batch: int = 16
    optimiser: str = "adamw"
    learning_rate: float = 1e-4
    encoder_learning_rate: float = 1.0
    scorer_learning_rate: float = 1.0
    scorer_delay: float = 0.0
    weight_decay: float = 0.05
    decay_all: bool = False
    momentum: float = 0.9
    warm_up: float = 0.05
    schedule: str = "cosine"
    drops: tuple[float, ...] = (0.6, 0.8)
    clip_value: float | None = None
    clip_norm: float | None = 1.0
    accumulate: int = 1
    precision: str = "32-true"
    entropy: float = 0.01
    sigma: float = 0.05
    sigma_schedule: str = "linear"
    class_weights: tuple[float, ...] | None = None
    validate_every: int = 100
    shift: int = 0
    shift_share: float = 0.0
    colour: bool = False
    flip: bool = False
    seed: int = 0
    workers: int = 0
    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    log_every: int = 10

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}: got {value!r}")
        for names, least in ((_AT_LEAST_ONE, 1), (_NOT_NEGATIVE, 0)):
            for name in names:
                if not getattr(self, name) >= least:
                    raise ValueError(f"{name} must be {least} or more: got {getattr(self, name)}")
        if not math.isfinite(self.weight_decay):
            raise ValueError(f"weight_decay must be finite: got {self.weight_decay}")
        for name in ("warm_up", "scorer_delay", "shift_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1): got {getattr(self, name)}")
        if self.schedule == "multi_step" and not all(self.warm_up <= d <= 1 for d in self.drops):
            raise ValueError(f"drops must lie between warm_up and 1: got {self.drops}")
        if self.batch < self.accumulate:
            raise ValueError(
                f"a batch of {self.batch} images cannot be computed in {self.accumulate} parts"
            )
        for name in ("clip_value", "clip_norm"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} must be positive, or None for no clipping: got {value}")
        if self.devices == 0 or self.devices < -1:
            raise ValueError(f"devices must be 1 or more, or -1 for all: got {self.devices}")
