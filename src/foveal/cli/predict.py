"""foveal predict: a row an image, as soon as it is known."""

import sys
from collections.abc import Iterator
from pathlib import Path

from foveal.cli.common import loaded, say, status, tracked
from foveal.evaluation import Result
from foveal.report import rows as tables
from foveal.runs import run as runs


def predict(run_path: str, images: list[str], *, output: str | None) -> int:
    """Write a row an image, to a file or to standard output."""
    line = tables.csv_line if output is None else tables.line_for(Path(output))
    run = loaded(run_path)
    found = runs.gathered(images)
    errors: list[str | None] = []

    def results() -> Iterator[Result]:
        for result in tracked(run.results(found), "predicting", len(found)):
            errors.append(result.error)
            yield result

    if output is None:
        sys.stdout.writelines(tables.lines(results(), line))
    else:
        with tables.replacing(Path(output)) as out:
            out.writelines(tables.lines(results(), line))
        say(f"{len(errors)} rows in {output}")
    return status(errors)
