"""Begin a run, or go on with one, in a folder."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from foveal._checks import check_logger
from foveal._processes import is_rank_zero
from foveal._terminal import note
from foveal.data import Splits
from foveal.data.cache import keep_on_device
from foveal.data.folder import check
from foveal.data.loader import check_batch
from foveal.errors import Failure, NotWritten, UserError
from foveal.experiment import Experiment
from foveal.models import PatchClassifier
from foveal.phases.balancing import evened
from foveal.phases.phase_log import PhaseLog, title
from foveal.phases.sequence import begin
from foveal.phases.thresholds import choose
from foveal.runs.folder import RunFolder
from foveal.runs.record import record, restore
from foveal.runs.writing import earlier_run, new_run
from foveal.settings import Hardware, LoggerName
from foveal.training import Stopped, fit
from foveal.training.devices import configure_fabric
from foveal.training.loggers import LightningLogger, open_loggers


def start(
    experiment: Experiment,
    output: str | Path,
    hardware: Hardware,
    *,
    resumed_in: str | Path | None = None,
    progress: bool = True,
    logger: LoggerName | None = None,
) -> RunFolder:
    """Train an experiment in a new folder.

    The data are read, and the hardware is checked, before there is a folder, so that a mistake
    leaves nothing behind.

    Args:
        experiment: what to train.
        output: the folder; must be new or empty.
        hardware: what to train on.
        resumed_in: folder that the command to go on names; None: the run's.
        progress: show progress on standard error.
        logger: where the rows of metrics.csv go besides, see `foveal.training.loggers`.

    Raises:
        KeyboardInterrupt: the run was stopped; the message gives the command to go on.
        UserError: the folder or the data are not usable; training diverged.
    """
    check_hardware(experiment, hardware)
    check_logger(logger)
    splits = read_splits(experiment)
    with new_run(output) as folder:
        if is_rank_zero():
            folder.write_seed(experiment.training.seed)
            folder.save("first", experiment.model.state_dict())
            record(folder, experiment)
        command = _command(resumed_in or output)
        with open_loggers(logger, folder) as loggers:
            _train(
                experiment,
                splits,
                folder,
                hardware,
                command,
                resume=False,
                progress=progress,
                loggers=loggers,
            )
        return folder


def resume(
    output: str | Path,
    hardware: Hardware,
    *,
    resumed_in: str | Path | None = None,
    progress: bool = True,
    logger: LoggerName | None = None,
) -> RunFolder:
    """Go on with a run from its last checkpoint, or from the beginning if it has none.

    Args:
        output: the folder of the run.
        hardware: what to train on.
        resumed_in: see `start`.
        progress: show progress on standard error.
        logger: see `start`.

    Raises:
        KeyboardInterrupt: the run was stopped again.
        UserError: there is no such run, or its data are gone.
    """
    check_logger(logger)
    with earlier_run(output) as folder, open_loggers(logger, folder) as loggers:
        command = _command(resumed_in or output)
        _resume(folder, hardware, command, progress=progress, loggers=loggers)
        return folder


def _resume(
    folder: RunFolder,
    hardware: Hardware,
    command: str,
    *,
    progress: bool,
    loggers: Sequence[LightningLogger],
) -> None:
    experiment = restore(folder)
    splits = read_splits(experiment)
    if progress and is_rank_zero():
        note(*(f"{folder.path}: {each}" for each in getattr(splits.train, "notes", ())))
    for part in (splits.train, splits.validation):
        check(part)
    if not folder.has("last"):  # it begins again, with the weights that it began with
        if not folder.has("first"):
            raise UserError(
                f"{folder.path} has no checkpoint to go on from: train again, with another --output"
            )
        experiment.model.load_state_dict(folder.weights("first"))
    _train(
        experiment,
        splits,
        folder,
        hardware,
        command,
        resume=True,
        progress=progress,
        loggers=loggers,
    )


def _command(output: str | Path) -> str:
    return f"foveal train --resume --output {shlex.quote(str(output))}"


def check_hardware(experiment: Experiment, hardware: Hardware) -> None:
    """Refuse hardware that this machine lacks, or over which a batch does not divide.

    Raises:
        UserError: one line with the remedy.
    """
    world = configure_fabric(hardware).world_size
    check_batch(experiment.training.optimisation.batch, world)


def read_splits(experiment: Experiment) -> Splits:
    """Read or paint the images of an experiment.

    Raises:
        UserError: files are not as they should be, or the pictures cannot be painted as asked.
    """
    try:
        return experiment.splits()
    except ValueError as error:
        raise UserError(str(error)) from error


def _train(
    experiment: Experiment,
    splits: Splits,
    folder: RunFolder,
    hardware: Hardware,
    command: str,
    *,
    resume: bool,
    progress: bool,
    loggers: Sequence[LightningLogger],
) -> None:
    device = configure_fabric(hardware).device
    splits = keep_on_device(splits, hardware, device)
    beginning = experiment.beginning
    log = PhaseLog(folder, verbose=progress)
    try:
        if beginning is not None and not folder.has("last"):
            assert isinstance(experiment.model, PatchClassifier)
            begin(
                experiment.model,
                splits,
                experiment.training,
                beginning,
                folder=folder,
                hardware=hardware,
                log=log,
            )
        training = experiment.training
        if beginning is not None:
            log.begin("look", "all of it end to end")
            splits, training = evened(splits, training)
        fit(
            experiment.model,
            splits,
            training,
            hardware=hardware,
            objective=experiment.objective,
            run=folder,
            resume=resume,
            progress=progress,
            validate_first=beginning is not None,
            title="" if beginning is None else title("look"),
            loggers=loggers,
        )
        if beginning is not None:
            log.end("trained")
        folder.drop("first")
        if is_rank_zero():
            choose(folder, experiment, splits.validation, log, device)
    except Stopped as stop:
        raise stop.kind(f"{stop}; continue with: {command}") from stop
    except KeyboardInterrupt as stop:
        raise type(stop)(f"continue from the last validation with: {command}") from None
    except Failure as error:
        raise Failure(f"{error}; {_saved(folder)}; continue with: {command}") from error
    except NotWritten as error:
        raise UserError(f"{error}; continue with: {command}") from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of memory: try a smaller --batch or --view ({error})") from error
    finally:
        log.close()


def _saved(folder: RunFolder) -> str:
    """What there is to go on from."""
    if not folder.has("last"):
        return "there is no checkpoint yet"
    return f"the checkpoint of step {folder.state()['state']['step']} is saved"
