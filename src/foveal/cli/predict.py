"""foveal predict: one row per image, written as soon as it is known."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foveal._devices import best_device
from foveal._progress import track
from foveal._terminal import printable
from foveal.cli._console import log, status
from foveal.errors import UserError

if TYPE_CHECKING:
    from foveal.evaluation import Result, Thresholds
    from foveal.runs import Run
    from foveal.runs.inputs import Listed
    from foveal.runs.thresholds import Threshold


def predict(
    run: Path,
    images: list[str],
    /,
    *,
    output: Path | None = None,
    threshold: str | None = None,
    resume: bool = False,
) -> int:
    """Predict the classes of images, and where the model looked.

    Args:
        run: folder of the run, as printed by foveal train.
        images: image files, folders of them, glob patterns, or URLs such as https://... and s3://....
        output: a .csv or .jsonl file, to which each row is written as soon as it is known; if not
            given, CSV is printed.
        threshold: probability above which the class that is looked for is predicted, of two, or
            each of several labels; or validation: as training chose it on the validation images. If
            not given, the most probable class, or every label above one half, is predicted.
        resume: keep the rows of the output, and predict only images that have none.
    """
    from foveal.report import rows
    from foveal.runs import load
    from foveal.runs.run import list_images

    if resume and output is None:
        raise UserError("--resume continues a file: name it with --output")
    lines = rows.csv_lines if output is None else rows.lines_for(output)
    model = load(run, device=best_device())
    asked = None if threshold is None else model.thresholds_at(_number(threshold))
    if asked is not None:
        log(f"predicted at thresholds: {asked}")
    listed = list_images(images)
    log(*listed.notes)
    predicting = _Predicting(model, asked)
    if output is not None:
        return status(_write(predicting, listed.sources, output, resume))
    errors: list[str | None] = []
    for line in lines(predicting.results(listed.sources, errors), model.classes):
        sys.stdout.write(printable(line) if sys.stdout.isatty() else line)
        sys.stdout.flush()
    return status(errors)


def _number(threshold: str) -> "Threshold":
    if threshold == "validation":
        return "validation"
    try:
        return float(threshold)
    except ValueError:
        raise UserError(
            f"--threshold {threshold}: give a probability in [0, 1], or validation"
        ) from None


@dataclass(frozen=True)
class _Predicting:
    """A model, and the thresholds that it predicts at."""

    model: "Run"
    thresholds: "Thresholds | None"

    def results(self, images: "Sequence[Listed]", errors: list[str | None]) -> "Iterator[Result]":
        """Predict images one after the other; their errors are added to a list."""
        from foveal.runs.inputs import ImageList

        results = self.model.results(ImageList(images), thresholds=self.thresholds)
        for result in track(results, "predicting", len(images)):
            errors.append(result.error)
            yield result


def _write(
    predicting: _Predicting, images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    """Write the rows of images into a file; return their errors."""
    from foveal._locks import held_file

    with held_file(output):
        return _write_held(predicting, images, output, resume)


def _write_held(
    predicting: _Predicting, images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    from foveal.report.rows import lines_for
    from foveal.report.rows_file import NO_ROWS, open_rows, read_rows

    classes = predicting.model.classes
    done = read_rows(output, classes) if resume else NO_ROWS
    missing = done.missing(images)
    kept = done.files.total()
    if kept:
        log(f"{output} has {kept} rows; {len(missing)} of {len(images)} images are missing")
    errors: list[str | None] = []
    lines = lines_for(output)(predicting.results(missing, errors), classes)
    if done.end and output.suffix.lower() == ".csv":
        next(lines)  # its header is there
    try:
        with open_rows(output, keep=done.end) as append:
            for line in lines:
                append(line)
    except KeyboardInterrupt as stop:
        raise type(stop)(
            f"{output} keeps the rows so far; the same command with --resume adds the others"
        ) from None
    log(f"{kept + len(errors)} rows in {output}")
    return errors
