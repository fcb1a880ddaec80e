"""Rows as CSV text: the lines end in a line feed."""

import csv
import io
from collections.abc import Iterable
from typing import Any

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what the text of a formula may begin with


def csv_line(cells: Iterable[Any]) -> str:
    """Return a row; None is an empty cell. A cell may hold any character.

    >>> csv_line(["a, b", 0.5, None])
    '"a, b",0.5,\\n'
    """
    line = io.StringIO()
    # only what is in the line's end is quoted: a cell may hold either character
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before what it would.

    Numbers are left as they are. `active` takes the apostrophe away again.

    >>> [inert(text) for text in ("=1+1", "@sum", "-0.5", "cat", "'=1")]
    ["'=1+1", "'@sum", '-0.5', 'cat', "''=1"]
    """
    return f"'{text}" if _is_formula(text) else text


def active(cell: str) -> str:
    """The text of a cell that `inert` has written.

    >>> active("'=1+1"), active("cat")
    ('=1+1', 'cat')
    """
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet would calculate with it, apostrophes at its beginning aside."""
    if not text.lstrip("'").startswith(_FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return several rows."""
    return "".join(map(csv_line, rows))
