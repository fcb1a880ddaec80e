"""foveal train: begin a run or go on with one, and evaluate what came of it."""

import shlex
import shutil
from dataclasses import replace
from typing import Any

import torch

from foveal._processes import is_rank_zero
from foveal.cli.common import SUCCESS, images, loaded, own, say
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.experiment import Experiment
from foveal.paper import recipes
from foveal.report import rows as tables
from foveal.runs import run as runs
from foveal.runs.folder import RunFolder
from foveal.training import Stopped, fit


def train(
    name: str,
    settings: dict[str, Any],
    *,
    output: str,
    resume: bool,
    devices: int,
    nodes: int,
    precision: str,
) -> int:
    """Train by a recipe, evaluate the best model, and say what can be done next."""
    machines = {"devices": devices, "nodes": nodes, "precision": precision}
    folder, experiment = (_resumed if resume else _begun)(name, settings, machines, output)
    try:
        _learn(experiment, folder, resume=resume)
    except UserError:
        if _speaks() and not resume and not folder.has("last"):  # nothing to go on with
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    if not _speaks():
        return SUCCESS
    run = loaded(output)
    dataset, what = own(experiment)
    found = evaluate(run.model, dataset, classes=run.classes)
    print(tables.told(found, f"{output} on {what}"))
    path, page = shlex.quote(output), shlex.quote(f"{output}/explained")
    say(
        f"the run lies in {output}; next, with images of your own:",
        f"  foveal explain {path} IMAGES --output {page}",
        f"  foveal predict {path} IMAGES --output predictions.csv",
    )
    return SUCCESS


def _learn(experiment: Experiment, folder: RunFolder, *, resume: bool) -> None:
    """Train; whoever stops it is told how to go on."""
    command = f"foveal train {experiment.recipe} --resume --output {shlex.quote(str(folder.path))}"
    try:
        fit(
            experiment.model,
            images(experiment),
            experiment.training,
            objective=experiment.objective,
            run=folder,
            resume=resume,
        )
    except Stopped as stop:
        raise KeyboardInterrupt(f"{stop}; go on with: {command}") from stop
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on from the last validation with: {command}") from None
    except torch.OutOfMemoryError as error:
        raise UserError(f"no memory left: try a smaller --batch or --view ({error})") from error


Begun = tuple[RunFolder, Experiment]


def _begun(name: str, settings: dict[str, Any], machines: dict[str, Any], output: str) -> Begun:
    """A new run."""
    experiment = _on(machines, recipes.made(name, settings))
    folder = RunFolder.create(output)
    if _speaks():
        runs.record(folder, experiment)
        folder.write_seed(experiment.training.seed)
        say(*experiment.notes)
    return folder, experiment


def _resumed(name: str, given: dict[str, Any], machines: dict[str, Any], output: str) -> Begun:
    """A run that was begun earlier; what is given again must agree with it."""
    folder = RunFolder.open(output)
    settings = runs.agree(folder, name, given)
    # with a checkpoint, what the training began from is not needed again
    if folder.has("last") and "weights" in settings:
        settings["weights"] = None
    return folder, _on(machines, recipes.made(name, settings))


def _on(machines: dict[str, Any], experiment: Experiment) -> Experiment:
    try:
        return replace(experiment, training=replace(experiment.training, **machines))
    except ValueError as error:
        raise UserError(str(error)) from error


def _speaks() -> bool:
    """Whether this is the first process of a distributed run, the one that is heard."""
    return is_rank_zero()
