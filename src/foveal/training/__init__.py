"""Training: a loop to be read from top to bottom.

Step t is a function of the weights before it and of (seed, t): images, augmentation, the noise of
the selection and dropout. So a run that was stopped and resumed equals, on the CPU to the bit, the
run that was not. Lightning Fabric handles devices, precision and gradients.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from foveal._seeding import NOISE, derived_seed
from foveal.data import Dataset, Splits
from foveal.data.augmentation import Transform, augmentations
from foveal.data.cache import plan_cache
from foveal.data.labels import is_multilabel
from foveal.data.loader import Batch, batches
from foveal.errors import NotFiniteError, UserError
from foveal.evaluation import Report, evaluate
from foveal.nn.modes import freeze_norms
from foveal.objectives import Objective, classification, multilabel
from foveal.runs.folder import Row, RunFolder
from foveal.settings import Hardware, Optimisation, Training
from foveal.training.average import Average
from foveal.training.checkpointer import Checkpointer
from foveal.training.devices import Fabric, isolated_randomness, launch_fabric, wrap
from foveal.training.diagnostics import Diagnostics
from foveal.training.interruption import Stopped, stop_on_signal
from foveal.training.logger import Clock, Logger, log_failure
from foveal.training.loggers import LightningLogger
from foveal.training.optimiser import apply_schedules, build_optimiser
from foveal.training.state import State
from foveal.training.step import LossModule, Unread, read, training_step

__all__ = ["Diverged", "Stopped", "fit"]

_MAX_SKIPPED = 10  # steps in a row


class Diverged(UserError):
    """Training stopped because the loss or its gradient was not finite in too many steps."""


def fit(
    model: nn.Module,
    splits: Splits,
    training: Training,
    *,
    hardware: Hardware = Hardware(),
    objective: Objective | None = None,
    augment: Sequence[Transform] | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
    progress: bool = True,
    validate_first: bool = False,
    title: str = "",
    loggers: Sequence[LightningLogger] = (),
) -> list[Row]:
    """Train a model on the training images and validate it on others.

    The weights of the last step stay in the model, or their average where the settings ask for one;
    those of the best validation are in the run.

    Args:
        model: from images to a `Prediction`; trained in place.
        splits: training images, and validation images to choose the best weights by.
        training: optimisation, augmentation and seed.
        hardware: devices, precision and loading processes.
        objective: loss to minimise, see `foveal.objectives`; called with the settings' entropy and
            class weights. None: `multilabel` if images have sets of classes, else `classification`.
        augment: random changes of the training images, in place of those of the settings.
        run: folder for checkpoints, metrics and log; the reason of a failure is logged there, too.
            None keeps nothing.
        resume: continue from the run's last checkpoint; without one, from the beginning.
        progress: whether to show progress on standard error.
        validate_first: validate before the first step, too: weights that training only makes worse
            are kept as the best.
        title: of the progress, where this is a part of something.
        loggers: Lightning's, or others of its interface, that get the rows of metrics.csv, too.

    Returns:
        The rows of metrics.csv, including those before a resumption.

    Raises:
        Stopped: the run was asked to stop, and can be resumed.
        Diverged: the loss was not finite in 10 steps in a row, or no score in a validation.
        ValueError: the number of steps is not known.
        UserError: a device is missing, a file cannot be read or written, or the class weights do
            not fit the classes.
    """
    with log_failure(run):
        _check(training, splits.train.classes)
        if objective is None:
            objective = multilabel if is_multilabel(splits.train.labels) else classification
        if augment is None:
            augment = augmentations(training.augmentation)
        stream = partial(_batches, splits.train, training, hardware, augment)
        return _fit(
            model,
            stream,
            splits.validation,
            training,
            hardware=hardware,
            objective=objective,
            run=run,
            resume=resume,
            progress=progress,
            validate_first=validate_first,
            title=title,
            loggers=loggers,
        )


def _fit(
    model: nn.Module,
    stream: Callable[[Fabric, int], Iterator[Batch]],
    validation: Dataset,
    training: Training,
    *,
    hardware: Hardware,
    objective: Objective,
    run: RunFolder | None,
    resume: bool,
    progress: bool,
    validate_first: bool,
    title: str,
    loggers: Sequence[LightningLogger],
) -> list[Row]:
    settings = training.optimisation
    # Without the reward for entropy, a step without noise gives the scorer no gradient.
    fabric = launch_fabric(hardware, unused_parameters=settings.entropy == 0)
    scales_gradients = fabric.strategy.precision.precision == "16-mixed"
    optimiser = build_optimiser(model, settings, fused=not scales_gradients)
    wrapped = wrap(fabric, LossModule(model, settings, objective), optimiser)
    average = Average(model, settings.ema_decay) if settings.ema_decay else None
    checkpointer = Checkpointer(run, fabric, model, optimiser, average)
    state, rows = checkpointer.restore() if resume else (State(), [])
    diagnostics, clock = Diagnostics(multilabel=is_multilabel(validation.labels)), Clock()
    logger = Logger(
        run, rows, settings.steps, state.step, verbose=progress, title=title, loggers=loggers
    )
    validate = partial(_validate, fabric, model, average, validation, settings.batch, diagnostics)
    unread = list[Unread]()
    model.train()
    if settings.frozen_norms:
        freeze_norms(model)

    with stop_on_signal() as stop, isolated_randomness(fabric), logger:
        if validate_first and state.step == 0:
            report = validate()
            state.seconds += clock.lap()
            logger.add_row(state.row(0.0, None, report, diagnostics.relative_entropy))
            checkpointer.save(state, best=state.improves(report))
        for batch in stream(fabric, state.step):
            if state.stalls(settings.patience):
                logger.log(
                    f"stopped at step {state.step} of {settings.steps}: the validation loss has "
                    f"not fallen (--patience {settings.patience})"
                )
                break
            scheduled = apply_schedules(model, optimiser, settings, state.step)
            torch.manual_seed(derived_seed(training.seed, NOISE, state.step, fabric.global_rank))
            asked = stop.is_set()
            unread.append(training_step(fabric, *wrapped, batch, settings, stop=asked))
            state.add_step(clock.lap())
            if average is not None:
                average.update(state.step)
            done, validates, logs = _milestones(settings, state.step)
            # Several processes stop where all of them have heard of it.
            if not logs and not (asked and fabric.world_size == 1):
                logger.show_progress(state.step)
                continue

            stops = _read(unread, state, diagnostics)
            state.add_seconds(clock.lap())
            logger.show_progress(state.step, state)
            if validates:
                report = validate()
                state.seconds += clock.lap()
                logger.add_row(state.row(*scheduled, report, diagnostics.relative_entropy))
                for warning in diagnostics.warnings(majority=report.majority):
                    logger.log(f"warning: {warning}")
                checkpointer.save(state, best=state.improves(report))
            elif logs:
                logger.add_row(state.row(*scheduled))

            if stops and not done:
                checkpointer.save(state)
                raise Stopped(state.step, settings.steps, run, stop.kind)
    if average is not None:
        average.replace_weights()
    return rows


def _check(training: Training, classes: tuple[str, ...]) -> None:
    """Refuse what would fail, or mean something else, only after training has begun."""
    settings = training.optimisation
    if settings.steps < 1:
        raise ValueError(f"steps must be 1 or more to train: got {settings.steps}")
    weights = settings.class_weights
    if weights is not None and len(weights) != len(classes):
        raise UserError(
            f"class_weights must have one weight for each of the {len(classes)} classes "
            f"({', '.join(classes)}): got {len(weights)}"
        )


def _batches(
    dataset: Dataset,
    training: Training,
    hardware: Hardware,
    augment: Sequence[Transform],
    fabric: Fabric,
    first: int,
) -> Iterator[Batch]:
    return batches(
        dataset,
        size=training.optimisation.batch,
        seed=training.seed,
        first=first,
        steps=training.optimisation.steps,
        augment=augment,
        cache=plan_cache(dataset, hardware, fabric.device),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def _milestones(settings: Optimisation, step: int) -> tuple[bool, bool, bool]:
    """Whether training is done after a step, whether it validates, and whether it logs."""
    done = step == settings.steps
    validates = done or step % settings.validation_interval == 0
    return done, validates, validates or step % settings.log_every == 0


def _read(unread: list[Unread], state: State, diagnostics: Diagnostics) -> bool:
    """Take note of the steps that were not read yet; return whether a process is to stop.

    Raises:
        Diverged: too many of them in a row were not finite.
    """
    outcomes = read(unread)
    unread.clear()
    for step, outcome in enumerate(outcomes, state.step - len(outcomes) + 1):
        state.add(outcome)
        diagnostics.add_step(finite=outcome.finite, scorer_gradient=outcome.scorer_gradient)
        if state.skipped == _MAX_SKIPPED:
            raise Diverged(
                f"training diverged: the loss or its gradient was not finite in the {_MAX_SKIPPED} "
                f"steps up to step {step}; try a lower learning rate, a longer warm-up, clipping, "
                "or precision 32-true"
            )
    return any(outcome.stop for outcome in outcomes)


def _validate(
    fabric: Fabric,
    model: nn.Module,
    average: Average | None,
    dataset: Dataset,
    batch: int,
    diagnostics: Diagnostics,
) -> Report:
    with nullcontext() if average is None else average.in_model():
        if fabric.world_size > 1:  # batch norms saw other images on every device
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
        try:
            with fabric.autocast():
                return evaluate(
                    model,
                    dataset,
                    batch,
                    on_prediction=diagnostics.add_prediction,
                    rank=fabric.global_rank,
                    world_size=fabric.world_size,
                    raise_not_finite=True,
                )
        except NotFiniteError as error:
            raise Diverged(f"training diverged: {error}") from error
