"""foveal predict: one row per image, written as soon as it is known."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foveal._devices import best_device
from foveal._progress import ProgressLog
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
    cases: Path | None = None,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
) -> int:
    """Predict the classes of images, and where the model looked.

    Args:
        run: folder of the run, as printed by foveal train, or hf-hub:org/name.
        images: image files, folders of them, glob patterns, URLs such as https://... and
            s3://bucket/folder/, or a .csv or .parquet table with their paths in the column file.
        output: a .csv, .jsonl or .parquet file, whose rows are written as soon as they are known;
            if not given, CSV is printed.
        threshold: probability above which the class that is looked for is predicted, of two, or
            each of several labels; or validation: as training chose it on the validation images. If
            not given, the most probable class, or every label above one half, is predicted.
        resume: keep the rows of the output, and predict only images that have none.
        cases: a .csv file with one row per case, several images that belong together, such as the
            slides of a patient: IMAGES is a table whose column case names them, or a folder with
            a sub-folder for each. Made when all rows of --output are there.
        engine: local predicts in this process, ray in several, here or on the machines of a Ray
            cluster, with rows in the order in which they are done.
        workers: number of processes of Ray (default: one for each GPU of the cluster, or for each
            core).
    """
    from foveal.report import rows
    from foveal.report.parquet import SUFFIX, check_pyarrow
    from foveal.runs import load
    from foveal.runs.run import list_images

    if resume and output is None:
        raise UserError("--resume continues a file: name it with --output")
    _check_engine(engine, workers)
    is_parquet = output is not None and output.suffix.lower() == SUFFIX
    if output is not None and is_parquet:
        check_pyarrow(output)
    lines = rows.csv_lines if output is None or is_parquet else rows.lines_for(output)
    asked_cases = None if cases is None else _cases(cases, images, output)
    model = load(run, device=best_device() if engine == "local" else None)
    asked = None if threshold is None else model.thresholds_at(_number(threshold))
    if asked is not None:
        log(f"predicted at thresholds: {asked}")
    listed = list_images(images)
    log(*listed.notes)
    predicting, out = _Predicting(run, model, asked, engine, workers, asked_cases), sys.stdout
    with redirect_stdout(sys.stderr):  # where Ray says that a worker has died
        if output is not None:
            write = _write_parquet if is_parquet else _write
            return status(write(predicting, listed.sources, output, resume))
        errors: list[str | None] = []
        for line in lines(predicting.results(listed.sources, errors), model.classes):
            out.write(printable(line) if out.isatty() else line)
            out.flush()
    return status(errors)


def _check_engine(engine: str, workers: int | None) -> None:
    if workers is not None and (engine == "local" or workers < 1):
        raise UserError(f"--workers {workers}: give a number of processes of --engine ray")
    if engine == "ray":
        from foveal.runs.on_ray import check_ray

        check_ray()


def _cases(cases: Path, images: list[str], output: Path | None) -> "_Cases":
    """The file of cases, and the case of each image of the only source, a table or a folder."""
    from foveal.report.case_rows import check_cases_file
    from foveal.runs.inputs import list_cases

    if output is None:
        raise UserError("--cases are made of the rows of a file: name it with --output")
    check_cases_file(cases)
    if cases.resolve() == output.resolve():
        raise UserError(f"--cases {cases}: the file of --output; name another one")
    if len(images) != 1:
        raise UserError("--cases takes one table with the columns file,case, or one folder")
    return cases, {str(file): case for file, case in list_cases(Path(images[0])).items()}


def _number(threshold: str) -> "Threshold":
    if threshold == "validation":
        return "validation"
    try:
        return float(threshold)
    except ValueError:
        raise UserError(
            f"--threshold {threshold}: give a probability in [0, 1], or validation"
        ) from None


_Cases = tuple[Path, dict[str, str]]


@dataclass(frozen=True)
class _Predicting:
    """What predictions are made with.

    Attributes:
        run: folder of the run.
        model: the run, loaded.
        thresholds: thresholds of the classes, if any are asked for.
        engine: local or ray.
        workers: number of processes of Ray.
        cases: the file of cases, and the case of each image, if cases are asked for.
    """

    run: Path
    model: "Run"
    thresholds: "Thresholds | None"
    engine: str
    workers: int | None
    cases: "_Cases | None"

    def results(self, images: "Sequence[Listed]", errors: list[str | None]) -> "Iterator[Result]":
        """Predict images one after the other; their errors are added to a list."""
        progress, seen, began = ProgressLog("predicting", tenths=False), 0.0, time.monotonic()
        try:
            for done, result in enumerate(self._results(images), start=1):
                if result.size is not None:
                    seen += result.size[0] * result.size[1] / 1e6
                rate = seen / (time.monotonic() - began)
                progress.update(done, len(images), f"{rate:.3g} megapixels/s")
                errors.append(result.error)
                yield result
        finally:
            progress.close()

    def _results(self, images: "Sequence[Listed]") -> "Iterator[Result]":
        if self.engine == "ray":
            from foveal.runs.on_ray import results_on_ray

            asked = self.thresholds
            return results_on_ray(self.run, images, thresholds=asked, workers=self.workers)
        from foveal.runs.inputs import ImageList

        return self.model.results(ImageList(images), thresholds=self.thresholds)

    def write_cases(self, rows: Path) -> None:
        """Write the file of cases, if they are asked for, from the rows of all images."""
        if self.cases is None:
            return
        from foveal.report.case_rows import write_cases
        from foveal.runs.thresholds import nothing_of

        path, case_by_file = self.cases
        count = write_cases(
            path,
            rows,
            case_by_file,
            self.model.classes,
            nothing=nothing_of(self.model.experiment),
            multilabel=self.model.multilabel,
            thresholds=self.thresholds,
        )
        log(f"{count} cases in {path}")


def _write(
    predicting: _Predicting, images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    """Write the rows of images into a file; return their errors."""
    from foveal._locks import held_file

    with held_file(output):
        return _write_held(predicting, images, output, resume)


def _write_parquet(
    predicting: _Predicting, images: "Sequence[Listed]", output: Path, resume: bool
) -> list[str | None]:
    """Write the rows of images into JSON lines, and make a Parquet file of them."""
    from foveal._files import remove
    from foveal._locks import held_file
    from foveal.report.parquet import rows_beside, unpack_parquet, write_parquet

    if output.is_dir():
        raise UserError(f"{output}: a folder: name a file with --output")
    lines, model = rows_beside(output), predicting.model
    with held_file(lines):
        if not resume:
            remove(output)
        elif output.is_file():
            unpack_parquet(output, lines, model.classes, multilabel=model.multilabel)
        errors = _write_held(predicting, images, lines, resume)
        write_parquet(output, lines, model.classes, multilabel=model.multilabel)
    lines.unlink()
    log(f"moved to {output}")
    return errors


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
    predicting.write_cases(output)
    return errors
