"""CSV files with a header, read strictly; every mistake is one line with place and remedy."""

import csv
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from foveal.errors import UserError
from foveal.images.locations import Location, RemoteFile, is_there, is_url


def read(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV with a header, separated by comma, semicolon or tab.

    Args:
        path: a file in UTF-8.
        columns: names that the header must contain, in upper or lower case.
        optional: names that it may contain, in upper or lower case; others stay as written.

    Returns:
        For every row that is not blank: its line number, 1 for the header, and its cells by column
        name, without surrounding space. Cells missing at the end are "".

    Raises:
        UserError: the file cannot be read or is not UTF-8, a column is missing or repeated, or a
            row is longer than the header.
    """
    known = (*columns, *optional)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            start = stream.readline()
            stream.seek(0)
            rows = csv.reader(stream, delimiter=max(",;\t", key=start.count), strict=True)
            return _named(path, columns, known, [(rows.line_num, row) for row in rows])
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise user_error(f"{path}: byte 0x{byte:02x} is not UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise user_error(f"{path} line {rows.line_num}: {error}; correct that line") from None
    except OSError as error:
        raise user_error(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _named(
    path: Path, columns: Sequence[str], known: Sequence[str], rows: list[tuple[int, list[str]]]
) -> list[tuple[int, dict[str, str]]]:
    header = [name.strip() for name in rows[0][1]] if rows else []
    header = [name.lower() if name.lower() in known else name for name in header]
    missing = [name for name in columns if name not in header]
    if missing:
        raise user_error(
            f"{path}: no column {', '.join(missing)} in the header, which has"
            f" {', '.join(header) or 'none'}; the first line must name {','.join(columns)}"
        )
    if repeated := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
        raise user_error(
            f"{path}: the header names {shorten(repeated)} more than once; keep one column of each"
        )
    named = []
    for line, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(header):
            raise user_error(
                f"{path} line {line}: {len(row)} cells under {len(header)} columns;"
                " put cells that contain a comma in double quotes"
            )
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        named.append((line, dict(zip(header, cells, strict=True))))
    return named


def find_file(folder: Path, name: str) -> Location:
    """The file that a cell names, relative to a folder, or by its URL.

    Where there is none, the name may be written with backslashes, as Windows has it, or with its
    accents encoded in another way, as macOS has it.

    Returns:
        A normalised path; that of the name as written if no such file exists.
    """
    if is_url(name):
        return RemoteFile(name)
    slashes = name.replace("\\", "/")
    spellings = (name, slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")))
    files = [Path(os.path.normpath(folder / spelling)) for spelling in spellings]
    return next((file for file in files if is_there(file)), files[0])


def user_error(message: str) -> UserError:
    """A mistake in the user's data as one line, even if a file name or a cell has several."""
    return UserError(" ".join(message.splitlines()))


def shorten(names: Sequence[str]) -> str:
    """The first three names, long ones in part, and how many more there are.

    >>> shorten(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name if len(name) <= 200 else f"{name[:200]}..." for name in names[:3]) + more
