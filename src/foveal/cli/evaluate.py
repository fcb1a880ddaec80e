"""foveal evaluate: evaluate a model on its own test images or on others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foveal import _json
from foveal._devices import best_device
from foveal._terminal import say
from foveal.cli._console import SUCCESS, log, status

if TYPE_CHECKING:
    from foveal.evaluation import Report
    from foveal.runs import Run


def evaluate(
    run: Path, /, *, data: Path | None = None, looks: bool = False, json: bool = False
) -> int:
    """Evaluate a trained model on its own test images, or on other labelled images.

    Args:
        run: folder of the run, as printed by foveal train, or hf-hub:org/name.
        data: a labelled folder or CSV; its test part is used if it has one.
        looks: measure too whether the looks matter: accuracy with blanked patches, without the vote
            of the view, with the other kind of selection, and what untrained scorers hit; takes six
            times as long, or longer.
        json: print one JSON object.
    """
    from foveal.runs import load

    print_report(load(run, device=best_device()), data, looks=looks, as_json=json)
    return SUCCESS


def print_report(
    run: "Run", data: Path | None = None, *, looks: bool = False, as_json: bool = False
) -> "Report":
    """Evaluate a run, print the report and return it.

    Args:
        run: a loaded run.
        data: labelled images; None: the run's own test images.
        looks: whether to measure if the looks matter.
        as_json: as one JSON object instead of a table.
    """
    from foveal.report.text import format_report

    dataset, what = run.labelled_images(data)
    log(*(f"{data or run.path}: {note}" for note in getattr(dataset, "notes", ())))
    seen = run.seen(dataset)
    if data is None and seen.pop("validation", []) and run.thresholds is not None:
        # a report on its own validation images names them as such
        log("warning: the thresholds were chosen on these images: figures at them are too good")
    log(*_warnings(what, len(dataset), seen))
    report = run.evaluate(dataset, looks=looks)
    status([result.error for result in report.results])
    if as_json:
        counts = {f"seen_in_{split}": len(files) for split, files in seen.items()}
        print(_json.dumps(report.summary() | counts))
    else:
        say(format_report(report, f"{run.path} on {what}"))
    return report


def _warnings(what: str, count: int, seen: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each split of the run that some of the images come from."""
    from foveal.data.folder.table import shorten

    purposes = {"train": "trained on", "validation": "chose its weights by"}
    return [
        f"warning: {len(files)} of the {count} images of {what} are images that the run"
        f" {purposes[split]} ({shorten(files)}): figures on them are too good"
        for split, files in seen.items()
        if files
    ]
