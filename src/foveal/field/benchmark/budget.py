"""Train any model for a number of minutes: how many steps that is follows from a measured step."""

import copy
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from foveal.data import Splits
from foveal.planning import sizing
from foveal.runs.folder import Row, RunFolder
from foveal.settings import Augmentation, Hardware, Optimisation, Training
from foveal.training import fit

TRIAL = 3  # steps that are measured
LEAST_STEPS = 200  # below them, a batch is halved
SMALLEST_BATCH = 4
VALIDATIONS = 20  # at most
VALIDATING = 0.15  # share of the time, at most
PIXELS = 4_000_000  # that go through the network at once

LIGHT = Augmentation(shift_fraction=1 / 30, colour=True)
"""The augmentation of all methods, that of `foveal train`."""


@dataclass(frozen=True)
class Speed:
    """What a training costs.

    Attributes:
        step: seconds of a step.
        validation: seconds of a validation.
    """

    step: float
    validation: float


def fine_tuning(splits: Splits, batch: int, pixels: int) -> Optimisation:
    """AdamW with a cosine, for a pretrained encoder under a new head; classes count the same.

    Args:
        splits: the images.
        batch: images per step.
        pixels: pixels of an image, or of its patches, that go through the network.
    """
    return Optimisation(
        steps=TRIAL,
        batch=batch,
        learning_rate=1e-3,
        encoder_lr_scale=0.5,
        weight_decay=0.05,
        entropy=0.0,
        class_weights=sizing.balanced(splits.train),
        accumulate=min(batch, math.ceil(batch * pixels / PIXELS)),
        log_every=1,
    )


def train_for(
    minutes: float,
    model: nn.Module,
    splits: Splits,
    optimisation: Optimisation,
    *,
    seed: int,
    hardware: Hardware = Hardware(),
) -> list[Row]:
    """Train a model in place for so many minutes; it ends with the weights that validated best.

    A few steps and a validation of a copy are measured first, within the minutes.

    Args:
        minutes: time for everything; at least one step is made.
        model: from images to a `Prediction`.
        splits: training and validation images.
        optimisation: everything but the number of steps.
        seed: of batches, augmentation and noise.
        hardware: what to train on.

    Returns:
        The rows of the training, see `foveal.training.fit`.
    """
    begin = time.perf_counter()
    training = Training(optimisation=optimisation, augmentation=LIGHT, seed=seed)
    speed = measure(model, splits, training, hardware)
    seconds = 60 * minutes - (time.perf_counter() - begin)
    settings = plan(optimisation, speed, seconds)
    with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
        run = RunFolder.create(Path(folder) / "run")
        planned = replace(training, optimisation=settings)
        rows = fit(model, splits, planned, hardware=hardware, run=run, progress=False)
        model.load_state_dict(run.weights("best"))
    return rows


def measure(model: nn.Module, splits: Splits, training: Training, hardware: Hardware) -> Speed:
    """Measure a step and a validation; the model is left as it is."""
    trial = replace(training.optimisation, steps=TRIAL, validate_every=TRIAL, log_every=1)
    rows = fit(
        copy.deepcopy(model),
        splits,
        replace(training, optimisation=trial),
        hardware=hardware,
        progress=False,
    )
    first, before, last = (float(row["seconds"] or 0) for row in rows[-TRIAL:])
    step = (before - first) / (TRIAL - 2)  # the first step is slower than the others
    return Speed(max(step, 1e-6), max(last - before - step, 0.0))


def plan(optimisation: Optimisation, speed: Speed, seconds: float) -> Optimisation:
    """How many steps and validations fit into the seconds, and what batch.

    >>> planned = plan(Optimisation(batch=16), Speed(step=1.0, validation=2.0), 400.0)
    >>> planned.steps, planned.batch, planned.validate_every
    (360, 16, 18)
    """
    validations = int(min(VALIDATIONS, VALIDATING * seconds / max(speed.validation, 1e-6)))
    validations = max(1, validations)
    left = max(0.0, seconds - validations * speed.validation)
    batch, step = optimisation.batch, speed.step
    while batch >= 2 * SMALLEST_BATCH and left / step < LEAST_STEPS:
        batch, step = batch // 2, step / 2
    steps = max(1, int(left / step))
    return replace(
        optimisation,
        steps=steps,
        batch=batch,
        accumulate=max(1, math.ceil(optimisation.accumulate * batch / optimisation.batch)),
        validate_every=math.ceil(steps / validations),
        log_every=max(1, steps // 100),
    )
