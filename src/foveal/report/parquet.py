"""Results as one Parquet file, of the extra parquet, made from JSON lines when all are known.

A Parquet file ends in its index: of half a file nothing can be read. So rows are written as JSON
lines beside it, which hold whole rows at any time, and become a Parquet file at the end.

    file, label, probability, CLASS, CLASS, ..., windows, error

The columns are those of a CSV, but windows are lists of [x0, y0, x1, y1], and a label that is a set
of classes is a list.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal._files import explained, remove
from foveal.errors import UserError
from foveal.report.rows import class_columns
from foveal.report.rows_file import open_rows, read_rows

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".parquet"
_ROWS = 10_000  # that are held in memory at once


def check_pyarrow(path: Path) -> None:
    """Refuse a Parquet file where the package that reads and writes it is missing.

    Raises:
        UserError: one line with the remedy.
    """
    if find_spec("pyarrow") is None:
        raise UserError(
            f"{path}: Parquet takes the package pyarrow, which is not installed: pip install "
            "'foveal[parquet]', or name a .csv"
        )


def rows_beside(path: Path) -> Path:
    """The JSON lines that a Parquet file is made from, as long as some are missing."""
    return path.with_name(f"{path.name}.jsonl")


def write_parquet(path: Path, lines: Path, classes: Sequence[str], *, multilabel: bool) -> None:
    """Replace a Parquet file by the rows in JSON lines, all of it or nothing.

    Raises:
        UserError: it cannot be written.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = _schema(classes, multilabel=multilabel)
    temporary = path.with_name(f".{path.name}.new")
    with explained(path, f"the rows are kept in {lines}", temporary=temporary):
        remove(temporary)  # of a process that was killed
        with (
            lines.open(encoding="utf-8") as source,
            temporary.open("xb") as out,
            ParquetWriter(out, schema) as writer,
        ):
            while rows := [_cells(json.loads(line), classes) for line in islice(source, _ROWS)]:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
        temporary.replace(path)


def unpack_parquet(path: Path, lines: Path, classes: Sequence[str], *, multilabel: bool) -> None:
    """Write the rows of a Parquet file as the JSON lines that it was made from, to add others.

    Where the lines hold as many rows or more, they were unpacked before, and stay.

    Raises:
        UserError: it holds something else, or the lines cannot be written.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    remedy = "give the file that the command wrote, or leave out --resume to replace it"
    try:
        with ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema(classes, multilabel=multilabel)):
                raise UserError(f"{path}: no predictions of this run (other columns); {remedy}")
            if read_rows(lines, classes).files.total() < file.metadata.num_rows:
                with open_rows(lines) as append:
                    for line in _lines(file.iter_batches(_ROWS), classes):
                        append(line)
    except (OSError, pyarrow.ArrowException) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as Parquet ({why}); {remedy}") from None


def _schema(classes: Sequence[str], *, multilabel: bool) -> "pyarrow.Schema":
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    return pyarrow.schema(
        [
            ("file", text),
            ("label", pyarrow.list_(text) if multilabel else text),
            ("probability", number),
            *((name, number) for name in class_columns(classes)),
            ("windows", pyarrow.list_(pyarrow.list_(pyarrow.int64()))),
            ("error", text),
        ]
    )


def _cells(row: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """A row of JSON lines with a column for each class."""
    shares = row.pop("probabilities")
    return row | {c: shares.get(n) for c, n in zip(class_columns(classes), classes, strict=True)}


def _lines(batches: Any, classes: Sequence[str]) -> Iterator[str]:
    columns = class_columns(classes)
    for batch in batches:
        for cells in batch.to_pylist():
            shares = {n: cells[c] for c, n in zip(columns, classes, strict=True)}
            row = {
                "file": cells["file"],
                "label": cells["label"],
                "probability": cells["probability"],
                "probabilities": {} if cells["error"] is not None else shares,
                "windows": cells["windows"],
                "error": cells["error"],
            }
            yield json.dumps(row, ensure_ascii=False) + "\n"
