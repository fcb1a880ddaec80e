"""foveal predict: one row per image, written as soon as it is known."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foveal._devices import best_device
from foveal._progress import track
from foveal._terminal import printable
from foveal.cli._console import log, status
from foveal.errors import UserError

if TYPE_CHECKING:
    from foveal.evaluation import Result
    from foveal.runs import Run
    from foveal.runs.inputs import Listed


def predict(
    run: Path, images: list[Path], /, *, output: Path | None = None, resume: bool = False
) -> int:
    """Predict the classes of images, and where the model looked.

    Args:
        run: folder of the run, as printed by foveal train.
        images: image files, folders of them, or glob patterns.
        output: a .csv or .jsonl file, to which each row is written as soon as it is known; if not
            given, CSV is printed.
        resume: keep the rows of the output, and predict only images that have none.
    """
    from foveal.report import rows
    from foveal.runs import load
    from foveal.runs.run import list_images

    if resume and output is None:
        raise UserError("--resume continues a file: name it with --output")
    lines = rows.csv_lines if output is None else rows.lines_for(output)
    model = load(run, device=best_device())
    listed = list_images(images)
    log(*listed.notes)
    if output is not None:
        return status(_write(model, listed.sources, output, resume))
    errors: list[str | None] = []
    for line in lines(_results(model, listed.sources, errors), model.classes):
        sys.stdout.write(printable(line) if sys.stdout.isatty() else line)
        sys.stdout.flush()
    return status(errors)


def _write(
    model: "Run", images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    """Write the rows of images into a file; return their errors."""
    from foveal._locks import held_file

    with held_file(output):
        return _write_held(model, images, output, resume)


def _write_held(
    model: "Run", images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    from foveal.report.rows import lines_for
    from foveal.report.rows_file import NO_ROWS, open_rows, read_rows

    done = read_rows(output, model.classes) if resume else NO_ROWS
    missing = done.missing(images)
    kept = done.files.total()
    if kept:
        log(f"{output} has {kept} rows; {len(missing)} of {len(images)} images are missing")
    errors: list[str | None] = []
    lines = lines_for(output)(_results(model, missing, errors), model.classes)
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


def _results(
    model: "Run", images: "Sequence[Listed]", errors: list[str | None]
) -> "Iterator[Result]":
    """Predict images one after the other; their errors are added to a list."""
    from foveal.runs.inputs import ImageList

    results = model.results(ImageList(images))
    for result in track(results, "predicting", len(images)):
        errors.append(result.error)
        yield result
