"""Rows as CSV text: the lines end in a line feed."""

import csv
import io
from collections.abc import Iterable
from typing import Any


def csv_line(cells: Iterable[Any]) -> str:
    """Return a row; None is an empty cell. A cell may hold any character.

    >>> csv_line(["a, b", 0.5, None])
    '"a, b",0.5,\\n'
    """
    line = io.StringIO()
    # only what is in the line's end is quoted: a cell may hold either character
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return several rows."""
    return "".join(map(csv_line, rows))
