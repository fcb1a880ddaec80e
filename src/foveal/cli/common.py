"""What several commands share: a run on the best device, a bar, and what is said at the end."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from foveal.data import Dataset, Splits
from foveal.data.folder import ImageFiles, read_whole
from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.runs import run as runs
from foveal.runs.run import Run

SUCCESS, MISTAKE = 0, 2
Item = TypeVar("Item")


def say(*lines: str) -> None:
    """Tell the user something that is no result."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def loaded(path: str) -> Run:
    """A run, on the GPU where there is one."""
    run = runs.load(path)
    if torch.cuda.is_available():
        run.model.to("cuda")
    return run


def images(experiment: Experiment) -> Splits:
    """What an experiment learns from.

    Raises:
        UserError: files are not as they should be, or no pictures can be made as asked.
    """
    try:
        return experiment.splits()
    except ValueError as error:
        raise UserError(str(error)) from error


def own(experiment: Experiment) -> tuple[Dataset, str]:
    """The images that an experiment is judged by, and what they are."""
    splits = images(experiment)
    if splits.test is None:
        return splits.validation, "its validation images, for want of test images"
    return splits.test, "its test images"


def labelled(run: Run, path: Path) -> ImageFiles:
    """A user's own labelled images.

    Raises:
        UserError: files are not as they should be, or the run says more than one class an image.
    """
    if run.experiment.multilabel:
        raise UserError(
            f"{path}: a folder or table tells one class an image, and {run.path} was taught sets "
            "of classes: it can be judged by its own images alone"
        )
    return read_whole(path, classes=run.classes)


def tracked(items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
    """The items, with a bar on standard error where somebody watches it."""
    console = Console(stderr=True)
    return track(
        items, what, total, console=console, transient=True, disable=not console.is_terminal
    )


def status(errors: Sequence[str | None]) -> int:
    """Success if anything could be read; what could not is counted aloud."""
    bad = [error for error in errors if error is not None]
    if bad:
        say(f"foveal: {len(bad)} of {len(errors)} images could not be read: {bad[0]}")
    return MISTAKE if bad and len(bad) == len(errors) else SUCCESS
