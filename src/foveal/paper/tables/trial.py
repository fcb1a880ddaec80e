"""One run of a table: trained and evaluated, or resumed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from foveal._files import write
from foveal.errors import UserError
from foveal.experiment import option_places
from foveal.models import WholeImage
from foveal.paper import recipes
from foveal.phases import launch
from foveal.runs.folder import Row, RunFolder
from foveal.runs.record import stored_options
from foveal.runs.run import load
from foveal.settings import Hardware
from foveal.training import Diverged

RESULT = "result.json"


@dataclass(frozen=True)
class Trial:
    """A run to train.

    Attributes:
        recipe: name of the recipe.
        options: options of the recipe, by name; the others have their defaults.
        path: folder of the run.
        hardware: what to train on.
    """

    recipe: str
    options: Mapping[str, Any]
    path: Path
    hardware: Hardware = Hardware()


@dataclass(frozen=True)
class Outcome:
    """The result of a run; kept in the run's folder as `result.json`.

    Attributes:
        seconds: duration of the training, validations included.
        curve: step and validation accuracy of every validation.
        accuracy: test accuracy of the weights that the validation chose; None if training failed.
        majority: accuracy of a constant predictor.
        hits: fraction of the test images in which every box is covered; None without boxes, and
            for a model of the whole image.
        failure: why training failed, or None.
    """

    seconds: float
    curve: list[tuple[int, float]]
    accuracy: float | None = None
    majority: float | None = None
    hits: float | None = None
    failure: str | None = None

    @property
    def learned(self) -> bool:
        """Whether it ended more than five points above a constant predictor."""
        return self.accuracy is not None and self.accuracy > (self.majority or 0.0) + 0.05

    def steps_to(self, goal: float) -> int | None:
        """The step of the first validation with that accuracy, or None."""
        return next((step for step, accuracy in self.curve if accuracy >= goal), None)


def read_outcome(trial: Trial) -> Outcome | None:
    """The outcome of a complete run, None if it is not complete.

    Raises:
        UserError: the folder holds a run with other options, or is damaged.
    """
    if not _is_begun(trial):
        return None
    _check_options(trial)
    file = trial.path / RESULT
    if not file.is_file():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["curve"] = [(int(step), float(accuracy)) for step, accuracy in stored["curve"]]
        return Outcome(**stored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged: delete it to evaluate the run again ({error})"
        ) from None


def run_trial(trial: Trial, *, progress: bool = False) -> Outcome:
    """Train a run, or go on with it, and evaluate it.

    Args:
        trial: what to train.
        progress: show progress on standard error.

    Raises:
        KeyboardInterrupt: the run was stopped, and can be resumed.
        UserError: the data are not as they should be, or the folder holds another run.
    """
    if (outcome := read_outcome(trial)) is not None:
        return outcome
    try:
        if _is_begun(trial):
            launch.resume(trial.path, trial.hardware, progress=progress)
        else:
            experiment = recipes.build(trial.recipe, trial.options)
            launch.start(experiment, trial.path, trial.hardware, progress=progress)
        outcome = _evaluate(trial)
    except Diverged as error:
        outcome = _outcome(RunFolder.open(trial.path).rows(), failure=str(error))
    write(trial.path / RESULT, json.dumps(asdict(outcome)).encode())
    return outcome


def _is_begun(trial: Trial) -> bool:
    return RunFolder(trial.path).recipe_file.is_file()


def _check_options(trial: Trial) -> None:
    """Refuse a run with other options than the trial's.

    Raises:
        UserError: names the option and both values.
    """
    folder, recipe = RunFolder.open(trial.path), recipes.find(trial.recipe)
    if (begun := folder.recipe) != trial.recipe:
        raise UserError(f"{folder.path} is a run of the recipe {begun}, not of {trial.recipe}")
    stored, places = stored_options(folder, recipe), option_places(recipe)
    for option, value in trial.options.items():
        keyword, field = places[option]
        known = stored[keyword] if field is None else getattr(stored[keyword], field)
        if _plain(known) != _plain(value):
            raise UserError(
                f"the run in {folder.path} has {option} {known}, not {value}: choose another "
                "--output"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return tuple(value) if isinstance(value, list) else value


def _evaluate(trial: Trial) -> Outcome:
    run = load(trial.path, device="cuda" if torch.cuda.is_available() else None)
    report = run.evaluate()
    # the whole image covers every box, which says nothing
    hits = None if isinstance(run.model, WholeImage) else report.hit_all_rate
    rows = RunFolder.open(trial.path).rows()
    return _outcome(rows, accuracy=report.accuracy, majority=report.majority, hits=hits)


def _outcome(rows: list[Row], **evaluation: Any) -> Outcome:
    curve = [
        (int(row["step"] or 0), accuracy)
        for row in rows
        if (accuracy := row["validation_accuracy"]) is not None
    ]
    seconds = float(rows[-1]["seconds"] or 0) if rows else 0.0
    return Outcome(seconds=seconds, curve=curve, **evaluation)
