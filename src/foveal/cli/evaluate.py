"""foveal evaluate: how well a run does, on its own test images or on a user's."""

import json
from pathlib import Path

from foveal.cli.common import SUCCESS, labelled, loaded, own, status
from foveal.data import Dataset
from foveal.evaluation import evaluate as judged
from foveal.report import rows as tables
from foveal.runs.run import Run


def evaluate(run_path: str, *, data: str | None, as_json: bool) -> int:
    """Print how well a run does, on its own test images or on a user's."""
    run = loaded(run_path)
    dataset, what = own(run.experiment) if data is None else _given(run, Path(data))
    found = judged(run.model, dataset, classes=run.classes)
    status([result.error for result in found.results])
    print(json.dumps(found.summary()) if as_json else tables.told(found, f"{run.path} on {what}"))
    return SUCCESS


def _given(run: Run, data: Path) -> tuple[Dataset, str]:
    """The test part of a user's data where they have one, else all of them."""
    whole = labelled(run, data)
    test = [i for i, entry in enumerate(whole.entries) if entry.part == "test"]
    return (whole.part(test), f"the test part of {data}") if test else (whole, f"{data}")
