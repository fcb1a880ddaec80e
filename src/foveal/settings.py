"""What can be set: a handful of groups of options, as the command line and recipes give them.

A group is a frozen dataclass of plain values. Recipes fill the groups with their own defaults, the
command line makes an option of every field, and a run keeps them in recipe.yaml. Importing this
does not import torch.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foveal._checks import (
    check_choices,
    check_class_weights,
    check_fraction,
    check_least,
    check_size,
)
from foveal._lengths import parse_length
from foveal._memory import free_memory, parse_bytes

Size = tuple[int, int]
Aggregator = Literal["max", "mean", "transformer"]
AnyAggregator = Literal["vote", "max", "mean", "transformer"]
Estimator = Literal["exact", "conditional", "score_function", "diagonal", "diagonal_centred"]
Decay = Literal["linear", "cosine", "constant"]
Schedule = Literal["cosine", "linear", "constant", "multi_step"]
Optimiser = Literal["adamw", "sgd"]
Glances = Literal[1, 2]
EncoderPool = Literal["mean", "avgmax"]
Mask = Literal["none", "nodata", "background"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
CachePlace = Literal["auto", "device", "memory", "none"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
LoggerName = Literal["wandb", "mlflow"]


CLOSER = 4  # resolution of a second glance in that of the view


@dataclass(frozen=True, kw_only=True)
class Model:
    """What the model sees and what it is made of.

    Attributes:
        view: height and width in pixels of the small view of the whole image that is scored;
            inferred from the images if not given.
        view_resolution: what a pixel of the view shows, a length such as 8um or 3m, instead of
            view; where the images say what their pixels show.
        patch: side of a patch in pixels of the full image, or a length such as 64um or 30m where
            the images say what a pixel shows; inferred if not given.
        k: number of patches per image; inferred if not given.
        apart: rows and columns of the scorer's cells around a selected one that are not selected
            beside it; inferred if not given: half a patch with pretrained weights, else 0.
        mask: windows that are never selected: nodata, those without data by a GeoTIFF's own word;
            background, also those of the plain light or dark background of a slide; or none.
        glances: 1; or 2, for things that are too small to be seen in the view: its best regions are
            scored again at a higher resolution, and patches are selected in these.
        closer: resolution of the second glance in that of the view; inferred if not given: 4, or 2
            where that would exceed the images' own.
        encoder: timm network that encodes the patches, or "thin" for a small one trained from
            scratch.
        encoder_stage: feature map of the encoder to use: 0 is the finest, -1 the last; inferred if
            not given: the deepest that still has 4 x 4 cells in a patch and that --weights hold.
        zoom: patches are enlarged by this factor before a timm network encodes them; inferred if
            not given: with pretrained weights to 96 px, by 1.5 at most; else 1.
        encoder_pool: how the encoder's feature map becomes the features of a patch: by the mean, or
            by avgmax, the mean of mean and maximum, which sees things that are much smaller than
            the patch; inferred if not given: avgmax with pretrained weights, else mean.
        scorer: timm network whose early stages score the view, or conv for four convolutions
            trained from scratch; if not given, the pretrained encoder's, frozen, else conv.
        scorer_stage: feature map of the scorer to use; 2 has a stride of 8 pixels in a ResNet.
        freeze_scorer: keep the scorer's pretrained network fixed and train its last layer only.
        scorer_width: filters between the scorer's network and its score; 0: none, a single
            convolution.
        aggregator: how the patches are combined: vote (each is classified, the surest count most),
            max or mean of their features, or transformer (their places and relations matter);
            inferred if not given: vote with pretrained weights, else max.
        pretrained: start encoder and scorer from timm's pretrained weights, downloaded once;
            without a network, from scratch and with a warning.
        weights: file of pretrained weights (.pt or .safetensors) for encoder and scorer, used
            instead of a download.
    """

    view: Size | None = None
    view_resolution: str | None = None
    patch: int | str | None = None
    k: int | None = None
    apart: int | None = None
    mask: Mask = "nodata"
    glances: Glances = 1
    closer: int | None = None
    encoder: str = "resnet18"
    encoder_stage: int | None = None
    zoom: float | None = None
    encoder_pool: EncoderPool | None = None
    scorer: str | None = None
    scorer_stage: int = 2
    freeze_scorer: bool = False
    scorer_width: int = 0
    aggregator: AnyAggregator | None = None
    pretrained: bool = True
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("k",) if isinstance(self.patch, str) else ("patch", "k"), 1)
        if isinstance(self.patch, str):
            parse_length(self.patch, "patch")
        if self.view_resolution is not None:
            parse_length(self.view_resolution, "view_resolution")
            if self.view is not None:
                raise ValueError("give view or view_resolution, not both")
        check_least(self, ("zoom",), 0.1)
        check_least(self, ("apart",), 0)
        check_least(self, ("closer",), 2)
        check_size("view", self.view)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the patches are selected while the model trains.

    Attributes:
        sigma: standard deviation of the noise on the scores, which lie in [0, 1], at the first
            step; 0 or more.
        estimator: gradient estimator of the selection; exact needs no samples.
    """

    sigma: float = 0.05
    estimator: Estimator = "exact"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("sigma",), 0)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How training begins: with windows that frozen features and the labels propose.

    Attributes:
        begin: find windows that may show the evidence, learn to read them, and teach the scorer
            where they are, before training end to end (--no-begin: end to end from the first step).
        proposals: windows per image that are proposed.
        proposal_megapixels: megapixels of an image, on average, that are searched for proposals:
            larger images are seen at 1/2, 1/4 ... of their size there (0: 32 at most, and as few as
            leave a patch 64 px; fewer still to save minutes).
        read_windows: proposed windows of an image that are read in a step (0: one, or five where
            frozen features say that several tell the label together).
        read_steps: steps of reading if one window of an image is read in a step; if several are,
            as many windows are read in fewer steps (0: inferred from the number of images).
        trusted_read_steps: the same where proposals predict the labels, so that windows need not be
            re-ranked first (0: read_steps).
        read_learning_rate: learning rate of the votes while reading.
        read_encoder_lr_scale: factor on it for the encoder.
        nothing: class of images with nothing to find in them, for which no window is evidence ("":
            there is none; inferred from the names of the classes if not given).
        baseline: first fit a linear classifier of the small view, to compare with.
        global_head: let this classifier add to the answer, as far as validation images are the
            better for it.
    """

    begin: bool = True
    proposals: int = 32
    proposal_megapixels: float = 0.0
    read_windows: int = 0
    read_steps: int = 0
    trusted_read_steps: int = 0
    read_learning_rate: float = 2e-3
    read_encoder_lr_scale: float = 0.3
    nothing: str | None = None
    baseline: bool = True
    global_head: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, ("proposals",), 1)
        check_least(self, ("proposal_megapixels", "read_windows"), 0)
        check_least(self, ("read_steps", "trusted_read_steps"), 0)
        check_least(self, ("read_learning_rate", "read_encoder_lr_scale"), 0)


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How the weights are optimised.

    Attributes:
        steps: number of training steps (0: inferred from the number of images).
        batch: images per step, over all devices.
        optimiser: adamw or sgd.
        learning_rate: peak learning rate.
        encoder_lr_scale: factor on the learning rate of the encoder.
        scorer_lr_scale: factor on the learning rate of the scorer.
        scorer_delay: fraction of the steps before the scorer is trained; until the encoder has
            learned something, the gradient of the scorer is noise.
        weight_decay: weight decay; each step subtracts learning_rate x weight_decay x weight.
            Biases and norms are excepted.
        decay_all: apply weight decay to biases and norms, too.
        momentum: momentum of sgd.
        warm_up: fraction of the steps in which the learning rate rises from 0.
        schedule: decay of the learning rate after the warm-up.
        milestones: fractions of the steps, warm-up included, at which the learning rate falls to a
            tenth; for the schedule multi_step.
        clip_value: clip each entry of the gradient to this magnitude (not given: no clipping).
        clip_norm: clip the norm of the gradient to this (--no-clip-norm: no clipping).
        accumulate: number of parts that a batch is split into to save memory.
        entropy: weight of the reward for a high entropy of the scores, which keeps the scorer from
            settling too early.
        sigma_schedule: decay of sigma over the steps, to 0 or constant.
        frozen_norms: batch norms use and keep the statistics that they have.
        class_weights: weight of each class in the loss, in the order of the classes; not given: all
            the same.
        validate_every: steps between validations (0: a twentieth of the steps); the last step is
            always validated.
        log_every: steps between rows of metrics.csv.
        patience: stop after so many validations in a row without a lower validation loss (0:
            never; where training begins with proposals, the last phase stops after one).
        ema_decay: validate and keep an exponential moving average (EMA) of the weights, which at
            every step weighs what it was by this much, such as 0.99; less in the first steps (0: no
            average). Reading proposed windows goes without.
    """

    steps: int = 1000
    batch: int = 16
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-4
    encoder_lr_scale: float = 1.0
    scorer_lr_scale: float = 1.0
    scorer_delay: float = 0.0
    weight_decay: float = 0.05
    decay_all: bool = False
    momentum: float = 0.9
    warm_up: float = 0.05
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = (0.6, 0.8)
    clip_value: float | None = None
    clip_norm: float | None = 1.0
    accumulate: int = 1
    entropy: float = 0.01
    sigma_schedule: Decay = "linear"
    frozen_norms: bool = False
    class_weights: tuple[float, ...] | None = None
    validate_every: int = 0
    log_every: int = 10
    patience: int = 0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("batch", "accumulate", "log_every"), 1)
        check_least(self, ("steps", "validate_every", "patience"), 0)
        rates = ("learning_rate", "encoder_lr_scale", "scorer_lr_scale", "momentum", "entropy")
        check_least(self, rates, 0)
        if not math.isfinite(self.weight_decay):
            raise ValueError(f"weight_decay must be finite: got {self.weight_decay}")
        check_fraction(self, ("warm_up", "scorer_delay"))
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1: got {self.ema_decay}")
        if self.schedule == "multi_step" and not all(
            self.warm_up <= milestone <= 1 for milestone in self.milestones
        ):
            raise ValueError(f"milestones must lie between warm_up and 1: got {self.milestones}")
        if self.batch < self.accumulate:
            raise ValueError(
                f"a batch of {self.batch} images cannot be split into {self.accumulate} parts: "
                "choose a smaller accumulate"
            )
        for name in ("clip_value", "clip_norm"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} must be positive: got {value}")
        check_class_weights(self.class_weights)

    @property
    def validation_interval(self) -> int:
        """Steps between validations."""
        return self.validate_every or max(1, self.steps // 20)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of the training images.

    Attributes:
        shift: largest random translation in pixels.
        shift_fraction: largest random translation as a fraction of height and width; added to
            shift.
        colour: change brightness and contrast at random.
        flip: mirror images at random; not for writing or road signs.
        turn: mirror images and turn them at random, square ones by quarters and others by halves,
            and proposed windows by quarters; for things without an upright.
    """

    shift: int = 0
    shift_fraction: float = 0.0
    colour: bool = False
    flip: bool = False
    turn: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, ("shift",), 0)
        check_fraction(self, ("shift_fraction",))


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a training runs on; results change by rounding only.

    Attributes:
        devices: number of devices per node (-1: all).
        nodes: number of nodes.
        accelerator: kind of device; auto takes a GPU if there is one.
        precision: 32-true; bf16-mixed or 16-mixed, in which networks compute with fewer digits, but
            not what selects and sums; or auto, bf16-mixed on devices that are fast in it: GPUs that
            have it, and CPUs with AMX.
        cache: where decoded images are kept: device, memory, none; or auto, on a GPU if they fit,
            else in memory, as far as it reaches.
        workers: number of processes that load images; 0 loads in the main process; inferred if not
            given: 0, but on a GPU several where images are not kept.
        memory: how much decoded images and tiles of large ones may take on a machine, such as 2GB;
            auto: a quarter of what is free.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    cache: CachePlace = "auto"
    workers: int | None = None
    memory: str = "auto"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        if self.memory != "auto":
            parse_bytes(self.memory)
        if self.devices == 0 or self.devices < -1:
            raise ValueError(f"devices must be 1 or more, or -1 for all: got {self.devices}")
        check_least(self, ("nodes",), 1)
        check_least(self, ("workers",), 0)

    def kept_bytes(self) -> int:
        """The memory in bytes, of what is free now."""
        return free_memory() // 4 if self.memory == "auto" else parse_bytes(self.memory)


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that a training depends on besides the model and the data.

    Attributes:
        optimisation: how the weights are optimised.
        augmentation: random changes of the training images.
        seed: seed of all random numbers, 0 or more and below 2^63.
    """

    optimisation: Optimisation = Optimisation()
    augmentation: Augmentation = Augmentation()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, ("seed",), 0)
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2^63: got {self.seed}")
