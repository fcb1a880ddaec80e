"""One run of a table: trained, judged and kept, or taken up where it was left."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from foveal._files import write
from foveal.cli.common import images, loaded, own
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.experiment import Experiment
from foveal.models import WholeImage
from foveal.paper import recipes
from foveal.runs import run as runs
from foveal.runs.folder import Row, RunFolder
from foveal.training import Diverged, fit

RESULT = "result.json"


@dataclass(frozen=True)
class Trial:
    """A run that is to be made.

    Attributes:
        recipe: its name.
        settings: keywords of the recipe; the others have their defaults.
        path: folder of the run.
        precision: see `foveal.training.Settings`.
    """

    recipe: str
    settings: Mapping[str, Any]
    path: Path
    precision: str = "32-true"


@dataclass(frozen=True)
class Outcome:
    """What came of it; kept in the run's folder as `result.json`.

    Attributes:
        seconds: of training, validations included.
        curve: step and validation accuracy of every validation.
        accuracy: on the test images, of the weights that the validation chose; None where training
            broke off.
        majority: accuracy of always saying the most frequent class.
        hits: share of the test images in which every box is covered; None without boxes, and where
            all of the image is looked at.
        failure: why training broke off, or None.
    """

    seconds: float
    curve: list[tuple[int, float]]
    accuracy: float | None = None
    majority: float | None = None
    hits: float | None = None
    failure: str | None = None

    @property
    def learned(self) -> bool:
        """Whether it ended more than five points above always saying the same."""
        return self.accuracy is not None and self.accuracy > (self.majority or 0.0) + 0.05

    def reached(self, goal: float) -> int | None:
        """The step of the first validation with that accuracy, or None."""
        return next((step for step, accuracy in self.curve if accuracy >= goal), None)


def made(trial: Trial) -> Outcome | None:
    """What came of a run that is complete, None where it is not.

    Raises:
        UserError: the folder holds a run of other settings, or is damaged.
    """
    if not (trial.path / "recipe.yaml").is_file():
        return None
    runs.agree(RunFolder.open(trial.path), trial.recipe, trial.settings)
    file = trial.path / RESULT
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        told["curve"] = [(int(step), float(accuracy)) for step, accuracy in told["curve"]]
        return Outcome(**told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: delete it to judge the run again ({error})") from None


def run(trial: Trial, *, progress: bool = False) -> Outcome:
    """Make a run, or go on with it, and judge it.

    Args:
        trial: what to run.
        progress: whether to tell on standard error how it goes.

    Raises:
        Stopped: training was asked to stop, and can be resumed.
        UserError: the data are not as they should be, or the folder holds another run.
    """
    if (outcome := made(trial)) is not None:
        return outcome
    experiment = recipes.made(trial.recipe, trial.settings)
    splits = images(experiment)  # before there is a folder: a mistake in the data leaves nothing
    begun = (trial.path / "recipe.yaml").is_file()
    folder = RunFolder.open(trial.path) if begun else _begun(trial, experiment)
    try:
        rows = fit(
            experiment.model,
            splits,
            replace(experiment.training, precision=trial.precision),
            objective=experiment.objective,
            run=folder,
            resume=begun,
            progress=progress,
        )
        outcome = _judged(trial, experiment, rows)
    except Diverged as error:
        outcome = _told(folder.rows(), failure=str(error))
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"no memory left: try fewer --jobs, or a smaller batch ({error})"
        ) from error
    write(trial.path / RESULT, json.dumps(asdict(outcome)).encode())
    return outcome


def _begun(trial: Trial, experiment: Experiment) -> RunFolder:
    folder = RunFolder.create(trial.path)
    folder.write_seed(experiment.training.seed)
    runs.record(folder, experiment)
    return folder


def _judged(trial: Trial, experiment: Experiment, rows: list[Row]) -> Outcome:
    report = evaluate(loaded(str(trial.path)).model, own(experiment)[0])
    # one look at all of the image covers every box, which says nothing
    hits = None if isinstance(experiment.model, WholeImage) else report.hit_all_rate
    return _told(rows, accuracy=report.accuracy, majority=report.majority, hits=hits)


def _told(rows: list[Row], **judgement: Any) -> Outcome:
    curve = [
        (int(row["step"] or 0), accuracy)
        for row in rows
        if (accuracy := row["validation_accuracy"]) is not None
    ]
    seconds = float(rows[-1]["seconds"] or 0) if rows else 0.0
    return Outcome(seconds=seconds, curve=curve, **judgement)
