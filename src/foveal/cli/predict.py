"""foveal predict: one row per image, written as soon as it is known."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from foveal._progress import track
from foveal.cli._console import best_device, log, status

if TYPE_CHECKING:
    from foveal.evaluation import Result


def predict(run: Path, images: list[Path], /, *, output: Path | None = None) -> int:
    """Predict the classes of images, and where the model looked.

    Args:
        run: folder of the run, as printed by foveal train.
        images: image files, folders of them, or glob patterns.
        output: a .csv or .jsonl file; if not given, CSV is printed.
    """
    from foveal._files import open_atomically
    from foveal.report import rows
    from foveal.runs import load
    from foveal.runs.run import list_images

    lines = rows.csv_lines if output is None else rows.lines_for(output)
    model = load(run, device=best_device())
    listed = list_images(images)
    log(*listed.notes)
    errors: list[str | None] = []

    def results() -> Iterator["Result"]:
        for result in track(model.results(listed), "predicting", len(listed)):
            errors.append(result.error)
            yield result

    if output is None:
        sys.stdout.writelines(lines(results(), model.classes))
    else:
        with open_atomically(output) as out:
            out.writelines(lines(results(), model.classes))
        log(f"{len(errors)} rows in {output}")
    return status(errors)
