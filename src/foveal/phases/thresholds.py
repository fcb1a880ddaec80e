"""After training: the thresholds of the best weights, chosen on the validation images."""

import torch

from foveal.data import Dataset
from foveal.errors import UserError
from foveal.evaluation import choose_thresholds, have_thresholds
from foveal.experiment import Experiment, seeded
from foveal.phases.phase_log import PhaseLog
from foveal.runs import load
from foveal.runs.folder import RunFolder
from foveal.runs.thresholds import keep_thresholds, kept_thresholds


def choose(
    folder: RunFolder,
    experiment: Experiment,
    validation: Dataset,
    log: PhaseLog,
    device: torch.device,
) -> None:
    """Choose the thresholds of a run and keep them, where they have a meaning and it has none yet.

    Args:
        folder: of the run, with its best weights.
        experiment: what was trained.
        validation: its validation images.
        log: where they are told.
        device: to predict on.
    """
    classes, multilabel = experiment.classes, experiment.multilabel
    if not have_thresholds(classes, multilabel=multilabel):
        return
    if kept_thresholds(folder, classes) is not None:
        return
    with seeded(0):  # building a model draws weights
        run = load(folder.path, device=device)
    report = run.evaluate(validation)
    try:
        chosen = choose_thresholds(report.results, classes, multilabel=multilabel)
    except UserError as error:
        log.log(f"no threshold can be chosen on the validation images: {error}")
        return
    keep_thresholds(folder, chosen)
    log.log(f"thresholds chosen on {chosen.images} validation images: {chosen}")
