"""Results as CSV or JSON lines, one row per image.

    file, label, probability, CLASS, CLASS, ..., windows, error

A class has a column of its name with its probability. A class with the name of another column gets
the prefix "class_". Windows are JSON, [[x0, y0, x1, y1], ...] in pixels of the image, end excluded.
In CSV, an apostrophe stands before text that a spreadsheet would take for a formula.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from foveal._csv import csv_line, inert
from foveal.data.labels import text
from foveal.errors import UserError
from foveal.evaluation import Result

Lines = Callable[[Iterable[Result], Sequence[str]], Iterator[str]]
"""From results and the names of the classes to the lines of a file."""

_BEFORE, _AFTER = ("file", "label", "probability"), ("windows", "error")


def csv_lines(results: Iterable[Result], classes: Sequence[str]) -> Iterator[str]:
    """A header, then a row for every result as soon as it is known.

    A label that is a set of classes is written as `0 + 3 + 7`, or `(none)`. In the row of an image
    that could not be predicted only `file` and `error` are filled in.
    """
    yield _csv_line((*_BEFORE, *class_columns(classes), *_AFTER))
    for result in results:
        failed = result.error is not None
        numbers = (result.probability, *(result.probabilities.get(c, math.nan) for c in classes))
        yield _csv_line(
            (
                result.file,
                text(result.label),
                *("" if failed or not math.isfinite(p) else f"{p:.6f}" for p in numbers),
                "" if failed else json.dumps(_xyxy(result)),
                result.error or "",
            )
        )


def json_lines(results: Iterable[Result], classes: Sequence[str]) -> Iterator[str]:
    """An object per line with the same content; a label that is a set is a list of classes.

    The object `probabilities` holds the columns of the classes. What is not known is null.
    """
    for result in results:
        failed = result.error is not None
        probabilities = {c: _finite(result.probabilities.get(c, math.nan)) for c in classes}
        row = {
            "file": encodable(result.file),
            "label": None if failed else result.label,
            "probability": None if failed else _finite(result.probability),
            "probabilities": {} if failed else probabilities,
            "windows": _xyxy(result),
            "error": None if result.error is None else encodable(result.error),
        }
        yield json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def lines_for(path: Path) -> Lines:
    """How results are written into a file, by its ending.

    Raises:
        UserError: neither .csv nor .jsonl.
    """
    formats: dict[str, Lines] = {".csv": csv_lines, ".jsonl": json_lines}
    if path.suffix.lower() not in formats:
        raise UserError(f"--output {path}: the file must end in .csv, .jsonl or .parquet")
    return formats[path.suffix.lower()]


def class_columns(classes: Sequence[str], others: Sequence[str] = (*_BEFORE, *_AFTER)) -> list[str]:
    """The column of each class: its name, with a prefix where that is the name of another column.

    >>> class_columns(["cat", "label"])
    ['cat', 'class_label']
    """
    taken = {*others, *classes}
    columns = []
    for name in classes:
        column = name
        while column in taken and (column != name or column in others):
            column = f"class_{column}"
        columns.append(column)
        taken.add(column)
    return columns


def _xyxy(result: Result) -> list[tuple[int, int, int, int]]:
    return [(left, top, right, bottom) for top, left, bottom, right in result.windows]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _csv_line(cells: Iterable[str]) -> str:
    return csv_line(inert(encodable(cell)) for cell in cells)


def encodable(text: str) -> str:
    """Bytes of a file name that are not UTF-8 are written as escapes, as in `caf\\\\udce9.jpg`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
