"""A table of images to predict: the column `file` of a CSV or a Parquet file.

Names are relative to the folder of the table, as in the CSV of a training. The column `case` says
which images belong together, if cases are asked for; other columns, such as labels and splits, are
left out of account.
"""

from collections.abc import Sequence
from pathlib import Path

from foveal.data.folder import table
from foveal.errors import UserError
from foveal.images.locations import Location
from foveal.report.parquet import SUFFIX, check_pyarrow

TABLES = (".csv", ".tsv", SUFFIX)
_COLUMN, _CASE = "file", "case"


def listed_files(path: Path) -> list[Location]:
    """The files that a table names, in its order; whether they exist is not looked at.

    Raises:
        UserError: it cannot be read, has no column `file`, or names nothing in a row or at all.
    """
    return _files(path, [name for (name,) in _read(path, (_COLUMN,))])


def listed_cases(path: Path) -> dict[Location, str]:
    """The files that a table names, and the case of each.

    Raises:
        UserError: it is no such table, see `listed_files`, has no column `case`, names none in a
            row, or names a file more than once.
    """
    if path.suffix.lower() not in TABLES:
        raise UserError(
            f"{path}: neither a folder with a sub-folder for each case nor a table, a .csv or "
            f".parquet with the columns {_COLUMN},{_CASE}"
        )
    rows = _read(path, (_COLUMN, _CASE))
    cases = dict[Location, str]()
    files = _files(path, [name for name, _ in rows])
    for number, (file, (_, case)) in enumerate(zip(files, rows, strict=True), start=1):
        if not case:
            raise table.user_error(f"{path}: row {number} names no case; fill it in")
        if file in cases:
            raise table.user_error(f"{path}: row {number} names {file} again; remove one of them")
        cases[file] = case
    return cases


def _files(path: Path, names: Sequence[str]) -> list[Location]:
    if not names:
        raise table.user_error(f"{path}: no rows; give one row per image, its name under file")
    for number, name in enumerate(names, start=1):
        if not name:
            raise table.user_error(f"{path}: row {number} names no file; fill it in or remove it")
    return [table.find_file(path.parent, name) for name in names]


def _read(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The cells of some columns, row by row."""
    if path.suffix.lower() == SUFFIX:
        return _of_parquet(path, columns)
    return [tuple(cells[c] for c in columns) for _, cells in table.read(path, columns)]


def _of_parquet(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    check_pyarrow(path)
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [column for column in columns if column not in names]:
                what = "paths of the images" if _COLUMN in missing else "cases"
                raise UserError(
                    f"{path}: no column {missing[0]}: it has {', '.join(names) or 'none'}; the "
                    f"column with the {what} must be called {missing[0]}"
                )
            cells = file.read(list(columns)).select(list(columns)).to_pydict()
    except (OSError, pyarrow.ArrowException) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise table.user_error(f"{path}: cannot be read as Parquet ({why}); check it") from None
    return [
        tuple("" if cell is None else str(cell) for cell in row)
        for row in zip(*(cells[column] for column in columns), strict=True)
    ]
