"""Train any model for a number of minutes: how many steps that is follows from a measured step."""

import copy
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from foveal.data import Dataset, Example, Splits
from foveal.planning import sizing
from foveal.runs.folder import Row, RunFolder
from foveal.settings import Augmentation, Hardware, Optimisation, Training
from foveal.training import fit
from foveal.training.devices import configure_fabric

TRIAL, FEW = 6, 8  # steps, and validation images, that are measured
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
        image: seconds of a training image.
        validation: seconds of a validation.
    """

    image: float
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
    """Measure small batches and a few validation images; the model is left as it is.

    On a GPU, which takes about as long for one image as for many, batches are as large as asked.
    """
    settings = training.optimisation
    on_cpu = configure_fabric(hardware).device.type == "cpu"
    batch = min(settings.batch, SMALLEST_BATCH) if on_cpu else settings.batch
    trial = _with_batch(replace(settings, steps=TRIAL, validate_every=TRIAL, log_every=1), batch)
    few = First(splits.validation, FEW)
    rows = fit(
        copy.deepcopy(model),
        Splits(splits.train, few),
        replace(training, optimisation=trial),
        hardware=hardware,
        progress=False,
    )
    first, *_, before, last = (float(row["seconds"] or 0) for row in rows[-TRIAL:])
    step = max(1e-6, (before - first) / (TRIAL - 2))  # the first step is slower than the others
    validation = max(0.0, last - before - step) * len(splits.validation) / len(few)
    return Speed(step / batch, validation)


def plan(optimisation: Optimisation, speed: Speed, seconds: float) -> Optimisation:
    """How many steps and validations fit into the seconds, and what batch.

    >>> planned = plan(Optimisation(batch=16), Speed(image=1 / 16, validation=2.0), 400.0)
    >>> planned.steps, planned.batch, planned.validate_every
    (360, 16, 18)
    """
    validations = int(min(VALIDATIONS, VALIDATING * seconds / max(speed.validation, 1e-6)))
    validations = max(1, validations)
    left = max(0.0, seconds - validations * speed.validation)
    images, batch = left / speed.image, optimisation.batch
    while batch >= 2 * SMALLEST_BATCH and images < LEAST_STEPS * batch:
        batch //= 2
    steps = max(1, int(images / batch))
    return replace(
        _with_batch(optimisation, batch),
        steps=steps,
        validate_every=math.ceil(steps / validations),
        log_every=max(1, steps // 100),
    )


class First:
    """The first images of a data set.

    Args:
        dataset: labelled images.
        count: how many, if there are so many.
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.dataset, self.classes = dataset, dataset.classes
        self.labels = dataset.labels[:count]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} of {len(self)} images")
        return self.dataset[index]


def _with_batch(optimisation: Optimisation, batch: int) -> Optimisation:
    """The same number of images goes through the network at once."""
    parts = math.ceil(optimisation.accumulate * batch / optimisation.batch)
    return replace(optimisation, batch=batch, accumulate=min(batch, parts))
