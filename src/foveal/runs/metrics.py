"""A table of measurements in a CSV file that only grows, a row at a time. None is an empty cell."""

import csv
import io
from pathlib import Path

from foveal._csv import csv_text
from foveal._files import explained, no_links, write
from foveal.errors import UserError

Row = dict[str, float | None]


class _Row(Row):
    """A row that is read: a column that is not there is empty."""

    def __missing__(self, name: str) -> None:
        return None


def append(file: Path, row: Row) -> None:
    """Append a row; the first one decides on the columns."""
    new = not file.exists()
    with (
        explained(file),
        open(file, "a", encoding="utf-8", newline="", opener=no_links) as out,
    ):
        out.write(csv_text([row, row.values()] if new else [row.values()]))


def rows(file: Path) -> list[Row]:
    """All complete rows, none where there is no file. A crash may have cut the last one short.

    Raises:
        UserError: the file cannot be read, or holds anything but numbers under a column `step`.
    """
    if not file.exists():
        return []
    try:
        text = file.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        cells = csv.DictReader(io.StringIO(complete, newline=""), strict=True)
        found = [_Row((name, _number(cell)) for name, cell in row.items()) for row in cells]
        if not all(isinstance(row["step"], int) for row in found):
            raise ValueError("a row has no step")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{file} is damaged: it holds no measurements ({error})") from error
    return list(found)


def cut(file: Path, step: int) -> list[Row]:
    """Keep the complete rows up to a step and return them."""
    kept = [row for row in rows(file) if (row["step"] or 0) <= step]
    if kept:
        write(file, csv_text([kept[0], *(row.values() for row in kept)]).encode())
    else:
        file.unlink(missing_ok=True)
    return kept


def _number(cell: str) -> float | None:
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
