"""foveal evaluate: evaluate a model on its own test images or on others."""

from pathlib import Path
from typing import TYPE_CHECKING

from foveal import _json
from foveal.cli._console import SUCCESS, best_device, status

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
    report = run.evaluate(dataset)
    status([result.error for result in report.results])
    if as_json:
        print(_json.dumps(report.summary()))
    else:
        print(format_report(report, f"{run.path} on {what}"))
