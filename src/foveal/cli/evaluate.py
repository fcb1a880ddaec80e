"""foveal evaluate: evaluate a model on its own test images or on others."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.cli._console import SUCCESS, best_device, log, status

if TYPE_CHECKING:
    from foveal.runs import Run


def evaluate(run: Path, /, *, data: Path | None = None, json: bool = False) -> int:
    """Evaluate a trained model on its own test images, or on other labelled images.

    Args:
        run: folder of the run, as printed by foveal train.
        data: a labelled folder or CSV; its test part is used if it has one.
        json: print one JSON object.
    """
    from foveal.runs import load

    print_report(load(run, device=best_device()), data, as_json=json)
    return SUCCESS


def print_report(run: "Run", data: Path | None = None, *, as_json: bool = False) -> None:
    """Evaluate a run and print the report.

    Args:
        run: a loaded run.
        data: labelled images; None: the run's own test images.
        as_json: as one JSON object instead of a table.
    """
    from foveal.report.text import format_report

    dataset, what = run.labelled_images(data)
    if data is not None:
        log(*(f"{data}: {note}" for note in getattr(dataset, "notes", ())))
    report = run.evaluate(dataset)
    status([result.error for result in report.results])
    if as_json:
        print(json_format.dumps(report.summary()))
    else:
        print(format_report(report, f"{run.path} on {what}"))
