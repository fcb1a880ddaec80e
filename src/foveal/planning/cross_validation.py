"""Cross-validation: as many trainings as folds, each tested on its own part of the images.

    OUTPUT/  recipe.yaml                                 what was asked
             fold0/ fold1/ ...                           runs, each with its evaluation.json
             cross_validation.json  cross_validation.md  figures of the folds, mean and spread

Folds are trained one after the other. What was stopped goes on with the fold it was in.
"""

import os
from collections.abc import Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from foveal import _json
from foveal._files import write
from foveal._terminal import note
from foveal.data.folder.table import shorten
from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.images.locations import absolute
from foveal.phases import launch
from foveal.planning.folder import folder
from foveal.report.folds import format_folds, summarise_folds
from foveal.runs import data_table, load
from foveal.runs.folder import RunFolder
from foveal.runs.record import record_options, stored_options
from foveal.runs.stored import validated
from foveal.runs.writing import earlier_run, new_run
from foveal.settings import Hardware
from foveal.training.devices import configure_fabric

_EVALUATION = "evaluation.json"


def cross_validate(
    options: Mapping[str, Any], output: Path, hardware: Hardware, *, progress: bool = True
) -> dict[str, Any]:
    """Train and evaluate a run for every fold, in a new folder.

    Args:
        options: keywords of `foveal.planning.folder.folder`, with `folds`.
        output: the folder; must be new or empty.
        hardware: what to train on; a single device.
        progress: say on standard error how far it is.

    Returns:
        See `foveal.report.folds.summarise_folds`.

    Raises:
        KeyboardInterrupt: it was stopped; the message gives the command to go on.
        UserError: the folder, the data, the folds or the hardware are not usable.
    """
    defaults = {name: each.default for name, each in signature(folder).parameters.items()}
    asked = defaults | dict(options) | {"data": options["data"].resolve()}
    _check(asked, hardware)
    first = _experiment(asked, 0)  # a mistake leaves no folder behind
    with new_run(output) as whole:
        record_options(whole, "folder", asked)
        return _go_through(whole, asked, hardware, progress=progress, first=first)


def resume(output: Path, hardware: Hardware, *, progress: bool = True) -> dict[str, Any]:
    """Go on with a cross-validation; folds that are finished are kept.

    Raises:
        KeyboardInterrupt: it was stopped again.
        UserError: there is none, or its data are gone.
    """
    with earlier_run(output) as whole:
        asked = stored_options(whole, folder)
        _check(asked, hardware)
        _check_unchanged(RunFolder(whole.path / "fold0").data_file, asked)
        return _go_through(whole, asked, hardware, progress=progress)


def _check(asked: Mapping[str, Any], hardware: Hardware) -> None:
    """Find what is wrong with any fold before the first is trained."""
    from foveal.data.folder import read_folder

    if (hardware.devices, hardware.nodes) != (1, 1):
        raise UserError(
            f"--folds on several devices: train each fold by itself, with --folds {asked['folds']} "
            "--fold 0 and so on"
        )
    configure_fabric(hardware)
    read = partial(read_folder, asked["data"], seed=asked["seed"], multilabel=asked["multilabel"])
    for fold in range(max(1, asked["folds"])):
        read(folds=asked["folds"], fold=fold)


def _check_unchanged(table: Path, asked: Mapping[str, Any]) -> None:
    """Refuse data that are no longer those of the first fold: the others would overlap it."""
    from foveal.data.folder import read_whole

    if not table.is_file():
        return
    recorded = [row.image for row in data_table.read(table, multilabel=asked["multilabel"])]
    now = read_whole(asked["data"], multilabel=asked["multilabel"]).images
    before, after = (
        {(absolute(image.path), image.label, image.group) for image in images}
        for images in (recorded, now)
    )
    if changed := sorted({os.path.basename(path) for path, *_ in before ^ after}):
        raise UserError(
            f"{asked['data']}: images, labels or groups have changed since fold 0 was begun "
            f"({shorten(changed)}), and the folds would no longer fit together: put them back, or "
            "start another cross-validation with --output"
        )


def _go_through(
    whole: RunFolder,
    asked: Mapping[str, Any],
    hardware: Hardware,
    *,
    progress: bool,
    first: Experiment | None = None,
) -> dict[str, Any]:
    figures = []
    for fold in range(asked["folds"]):
        run = RunFolder(whole.path / f"fold{fold}")
        file = run.path / _EVALUATION
        if not file.is_file():
            _say(whole, f"fold {fold} of {asked['folds']}: {run.path}", progress=progress)
            if run.recipe_file.is_file():
                launch.resume(run.path, hardware, resumed_in=whole.path, progress=progress)
            else:
                experiment = first or _experiment(asked, fold)
                _start(experiment, run, whole, hardware, progress=progress)
            first = None
            write(file, _json.dumps(_evaluate(run, hardware)).encode())
        figures.append(_figures(file))
    summary = summarise_folds(figures)
    write(whole.path / "cross_validation.json", f"{_json.dumps(summary)}\n".encode())
    write(whole.path / "cross_validation.md", f"{format_folds(summary)}\n".encode())
    return summary


def _experiment(asked: Mapping[str, Any], fold: int) -> Experiment:
    try:
        return folder(**{**asked, "fold": fold})
    except ValueError as error:
        raise UserError(str(error)) from error


def _start(
    experiment: Experiment, run: RunFolder, whole: RunFolder, hardware: Hardware, *, progress: bool
) -> None:
    if progress:
        note(*experiment.notes)
    launch.start(experiment, run.path, hardware, resumed_in=whole.path, progress=progress)


def _evaluate(run: RunFolder, hardware: Hardware) -> dict[str, Any]:
    """The figures of a fold on its own test images, and of the baseline."""
    report = load(run.path, device=configure_fabric(hardware).device).evaluate()
    baseline = run.kept("baseline") or {}
    return {
        "run": run.path.name,
        **report.summary(),
        **{f"baseline_{name}": value for name, value in baseline.items()},
    }


def _figures(file: Path) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = validated(
            _json.loads(file.read_bytes()), dict[str, Any], str(file)
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: remove it, and the fold is evaluated again") from error
    return figures


def _say(run: RunFolder, text: str, *, progress: bool) -> None:
    run.note(text)
    if progress:
        note(text)
