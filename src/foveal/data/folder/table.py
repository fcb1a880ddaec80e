"""A user's CSV, read strictly: every fault is one line that names the place and the remedy."""

import csv
from collections.abc import Sequence
from pathlib import Path

from foveal.errors import UserError


def read(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV with a header, separated by comma, semicolon or tab.

    Args:
        path: a file in UTF-8.
        columns: names the header must hold; it may hold more.

    Returns:
        For every row that is not blank its line number, from 1 for the header, and its cells by
        column name (in lower case), stripped of surrounding space; a missing last cell is "".

    Raises:
        UserError: cannot be read, not UTF-8, a column is missing, a row is longer than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            start = stream.readline()
            stream.seek(0)
            rows = csv.reader(stream, delimiter=max(",;\t", key=start.count), strict=True)
            return _named(path, columns, [(rows.line_num, row) for row in rows])
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise fault(f"{path}: byte 0x{byte:02x} is not UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise fault(f"{path} line {rows.line_num}: {error}; mend that line") from None
    except OSError as error:
        raise fault(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _named(
    path: Path, columns: Sequence[str], rows: list[tuple[int, list[str]]]
) -> list[tuple[int, dict[str, str]]]:
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise fault(
            f"{path}: no column {', '.join(missing)} in the header, which has"
            f" {', '.join(header) or 'none'}; the first line must name {','.join(columns)}"
        )
    named = []
    for line, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(header):
            raise fault(
                f"{path} line {line}: {len(row)} cells under {len(header)} columns;"
                " put what holds a comma in double quotes"
            )
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        named.append((line, dict(zip(header, cells, strict=True))))
    return named


def fault(message: str) -> UserError:
    """A user's mistake as one line, whatever line breaks a name or a cell may hold."""
    return UserError(" ".join(message.splitlines()))


def first_three(names: Sequence[str]) -> str:
    """The first three of many names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
