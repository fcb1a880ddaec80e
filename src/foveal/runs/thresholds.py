"""The thresholds of a run: those that its training chose, and those that are asked for."""

from pathlib import Path
from typing import Literal

from foveal.data.folder.class_names import nothing_here
from foveal.errors import UserError
from foveal.evaluation import Thresholds, have_thresholds
from foveal.experiment import Experiment
from foveal.runs.folder import RunFolder

Threshold = float | Literal["validation"]
"""A probability, or those that the training chose on the validation images."""

_KEPT = "thresholds"


def keep_thresholds(folder: RunFolder, thresholds: Thresholds) -> None:
    """Keep thresholds in the folder of a run."""
    kept = {"classes": dict(thresholds.classes), "images": thresholds.images}
    folder.keep(_KEPT, kept)


def kept_thresholds(folder: RunFolder, classes: tuple[str, ...]) -> Thresholds | None:
    """The thresholds in the folder of a run; None if it keeps none.

    Raises:
        UserError: they are damaged, or those of other classes.
    """
    kept = folder.kept(_KEPT)
    if kept is None:
        return None
    if set(kept["classes"]) != set(classes):
        raise UserError(
            f"{folder.path}: the thresholds that it keeps are damaged: they are those of "
            f"{', '.join(kept['classes'])}, not of {', '.join(classes)}"
        )
    return Thresholds({name: kept["classes"][name] for name in classes}, kept["images"])


def asked_thresholds(path: Path, experiment: Experiment, threshold: Threshold) -> Thresholds:
    """The thresholds that are asked for by a number, or by "validation".

    Of two classes the number is the threshold of the one that is looked for: the other one means
    that there is nothing to find, or is the first. Of sets it is that of every class.

    Args:
        path: folder of the run.
        experiment: what was trained.
        threshold: a probability in [0, 1], or "validation".

    Raises:
        UserError: it has no meaning with the classes of the run, lies outside [0, 1], or the run
            keeps none.
    """
    classes = experiment.classes
    if not have_thresholds(classes, multilabel=experiment.multilabel):
        raise UserError(
            f"threshold {threshold}: {path} chooses among {len(classes)} classes, where a "
            "threshold has no meaning: it takes two classes, or several labels per image"
        )
    if threshold == "validation":
        if (kept := kept_thresholds(RunFolder(path), classes)) is None:
            raise UserError(
                f"threshold validation: {path} keeps none: its training has not ended, was that of "
                "an earlier foveal, or had validation images of one class only; give a number"
            )
        return kept
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold {threshold}: give a probability in [0, 1], or validation")
    if experiment.multilabel:
        return Thresholds(dict.fromkeys(classes, threshold))
    wanted = _looked_for(experiment)
    return Thresholds({c: threshold if c == wanted else 1 - threshold for c in classes})


def _looked_for(experiment: Experiment) -> str:
    """The class of two that is not the one of images with nothing to find; else the second."""
    first, second = experiment.classes
    return first if nothing_of(experiment) == second else second


def nothing_of(experiment: Experiment) -> str | None:
    """The class of images with nothing to find in them; None if there is none."""
    beginning = experiment.beginning
    found = nothing_here(experiment.classes) if beginning is None else beginning.nothing
    return found or None
