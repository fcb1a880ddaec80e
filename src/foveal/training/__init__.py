"""Training: a loop to be read from top to bottom.

Step t is a function of the weights before it and of (seed, t): the images, their augmentation, the
noise of the selection and the dropout. A run that was stopped and resumed is therefore, on the CPU,
to the bit the run that was not. Lightning Fabric sees to devices, precision and gradients.
"""

from collections.abc import Iterator

import torch
from torch import nn

from foveal.data import Dataset, Splits
from foveal.data.labels import is_multilabel
from foveal.data.loader import Augmentation, Batch, affine_colour, batches, flip, number, shift
from foveal.errors import UserError
from foveal.evaluation import Report, evaluate
from foveal.objectives import Objective, classification, multilabel
from foveal.runs.folder import Row, RunFolder
from foveal.training.checkpointer import Checkpointer
from foveal.training.devices import Fabric, fabric_of, own_randomness, set_up
from foveal.training.diagnostics import Diagnostics
from foveal.training.interruption import Stopped, polite_stop
from foveal.training.logger import Clock, Logger
from foveal.training.optimiser import apply_schedules, optimiser
from foveal.training.settings import Settings
from foveal.training.state import State
from foveal.training.step import LossModule, training_step

__all__ = ["Diverged", "Settings", "Stopped", "augmentation", "fit"]

_CHANCE = 2  # what the random numbers of noise and dropout are for; see `foveal.data.loader`
_PATIENCE = 10  # steps in a row that may be skipped


class Diverged(UserError):
    """The loss or its gradient was not finite in so many steps that going on is of no use."""


def fit(
    model: nn.Module,
    splits: Splits,
    settings: Settings,
    *,
    objective: Objective | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
    progress: bool = True,
) -> list[Row]:
    """Train a model on one part of the data and validate it on another.

    The weights of the last step stay in the model; those of the best validation are in the run.

    Args:
        model: from images to a `Prediction`; trained in place.
        splits: what to learn from, and what to choose the best weights by.
        settings: how.
        objective: what is minimised, see `foveal.objectives`; told the settings' entropy and class
            weights. None: `multilabel` where images bear sets of classes, else `classification`.
        run: where to keep checkpoints and metrics; None keeps nothing.
        resume: go on from the run's last checkpoint; where there is none yet, from the beginning.
        progress: whether to tell on standard error how it goes.

    Returns:
        The rows of metrics.csv, those before a resumption included.

    Raises:
        Stopped: the run was asked to stop, and can be resumed.
        Diverged: the loss was not finite in 10 steps in a row, or no score in a validation.
        UserError: a device is missing, or a file cannot be read or written.
    """
    sets = is_multilabel(splits.train.labels)
    objective = objective or (multilabel if sets else classification)
    fabric = fabric_of(settings)
    rule = optimiser(model, settings)
    lesson, stepper = set_up(fabric, LossModule(model, settings, objective), rule)
    keeper = Checkpointer(run, fabric, model, rule)
    state, rows = keeper.restored() if resume else (State(), [])
    watcher, clock = Diagnostics(multilabel=sets), Clock()
    journal = Logger(keeper.run, rows, settings.steps, state.step, aloud=progress and keeper.leads)
    model.train()

    with polite_stop() as stop, own_randomness(fabric), journal:
        for batch in _batches(splits.train, settings, fabric, first=state.step):
            pace = apply_schedules(model, rule, settings, state.step)
            torch.manual_seed(number(settings.seed, _CHANCE, state.step, fabric.global_rank))
            outcome = training_step(fabric, lesson, stepper, batch, settings, stop=stop.is_set())
            state.count(outcome, clock.lap())
            watcher.step(finite=outcome.finite, scorer_gradient=outcome.scorer_gradient)
            journal.advance(state)
            if state.skipped == _PATIENCE:
                raise Diverged(_diverged(state.step))

            done = state.step == settings.steps
            if done or state.step % settings.validate_every == 0:
                report = _validate(fabric, model, splits.validation, settings, watcher)
                state.seconds += clock.lap()
                journal.row(state.row(*pace, report, watcher.entropy_share))
                for warning in watcher.warnings(majority=report.majority):
                    journal.say(f"warning: {warning}")
                keeper.save(state, best=state.improves(report))
            elif state.step % settings.log_every == 0:
                journal.row(state.row(*pace))

            if outcome.stop and not done:
                keeper.save(state)
                raise Stopped(state.step, settings.steps, run)
    return rows


def augmentation(settings: Settings) -> tuple[Augmentation, ...]:
    """What is done to training images, in this order: shift, colour, flip."""
    asked = (
        (
            settings.shift > 0 or settings.shift_share > 0,
            shift(settings.shift, settings.shift_share),
        ),
        (settings.colour, affine_colour()),
        (settings.flip, flip),
    )
    return tuple(change for wanted, change in asked if wanted)


def _batches(
    dataset: Dataset, settings: Settings, fabric: Fabric, *, first: int
) -> Iterator[Batch]:
    return batches(
        dataset,
        size=settings.batch,
        seed=settings.seed,
        first=first,
        steps=settings.steps,
        augment=augmentation(settings),
        workers=settings.workers,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def _validate(
    fabric: Fabric, model: nn.Module, dataset: Dataset, settings: Settings, watcher: Diagnostics
) -> Report:
    if fabric.world_size > 1:  # batch norms saw other images on every device; the first is kept
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
    try:
        with fabric.autocast():
            return evaluate(
                model,
                dataset,
                settings.batch,
                on_prediction=watcher.see,
                rank=fabric.global_rank,
                world_size=fabric.world_size,
            )
    except ValueError as error:
        if "scores must be finite" in str(error):
            raise Diverged(f"training diverged: {error}") from error
        raise


def _diverged(step: int) -> str:
    return (
        f"training diverged: up to step {step}, the loss or its gradient was not finite in "
        f"{_PATIENCE} steps in a row; try a lower learning rate, a longer warm-up, clipping, or "
        "precision 32-true"
    )
