"""Results as rows of CSV or JSON lines, and a report as text."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from foveal._files import explained
from foveal.data.labels import text
from foveal.errors import UserError
from foveal.evaluation import Report, Result

Line = Callable[[Result], str]
HEADER = ("file", "label", "probability", "windows", "error")


def csv_line(result: Result) -> str:
    """File, label, probability, windows as `top left bottom right;...`, error.

    A label that is a set of classes is written as `0 + 3 + 7`, or `(none)`.
    """
    windows = ";".join(" ".join(map(str, window)) for window in result.windows)
    probability = "" if result.error else f"{result.probability:.6f}"
    return _joined((result.file, text(result.label), probability, windows, result.error or ""))


def json_line(result: Result) -> str:
    """An object with all that is known of the image; a label that is a set is a list of classes."""
    row = {
        "file": result.file,
        "label": None if result.label == "" else result.label,
        "probability": None if result.error else result.probability,
        "probabilities": result.probabilities,
        "windows": result.windows,
        "error": result.error,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def lines(results: Iterable[Result], line: Line) -> Iterator[str]:
    """A row for every result as soon as it is there; CSV begins with a header."""
    if line is csv_line:
        yield _joined(HEADER)
    for result in results:
        yield line(result)


def line_for(path: Path) -> Line:
    """How a row is written, by the ending of the file.

    Raises:
        UserError: neither .csv nor .jsonl.
    """
    kinds = {".csv": csv_line, ".jsonl": json_line}
    if path.suffix.lower() not in kinds:
        raise UserError(f"--output {path}: the file must end in .csv or .jsonl")
    return kinds[path.suffix.lower()]


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when all of it is written, or leaves no trace.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with explained(path, temporary=temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8", newline="") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def told(report: Report, title: str) -> str:
    """A report as a small table."""
    shares = {
        "accuracy": report.accuracy,
        "balanced accuracy": report.balanced_accuracy,
        "always the most frequent": report.majority,
        "a look hit a box": report.hit_rate,
        "looks hit every box": report.hit_all_rate,
    }
    rows = {name: f"{share:7.1%}" for name, share in shares.items() if share is not None}
    recalls = {name: f"{share:7.1%}" for name, share in report.per_class.items()}
    width = max(map(len, (*rows, *recalls))) + 2
    failed = f", {report.failed} could not be read" if report.failed else ""
    lines = [f"{title}: {report.n} images{failed}"]
    lines += [f"  {name:<{width}}{share}" for name, share in rows.items()]
    lines += ["found, by class:"]
    lines += [f"  {name:<{width}}{share}" for name, share in recalls.items()]
    return "\n".join(lines)


def _joined(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
