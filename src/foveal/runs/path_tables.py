"""A table of images to predict: the column `file` of a CSV or a Parquet file.

Names are relative to the folder of the table, as in the CSV of a training. Other columns, such as
labels and splits, are left out of account.
"""

from pathlib import Path

from foveal.data.folder import table
from foveal.errors import UserError
from foveal.images.locations import Location
from foveal.report.parquet import SUFFIX, check_pyarrow

TABLES = (".csv", ".tsv", SUFFIX)
_COLUMN = "file"


def listed_files(path: Path) -> list[Location]:
    """The files that a table names, in its order; whether they exist is not looked at.

    Raises:
        UserError: it cannot be read, has no column `file`, or names nothing in a row or at all.
    """
    names = _of_parquet(path) if path.suffix.lower() == SUFFIX else _of_csv(path)
    if not names:
        raise table.user_error(f"{path}: no rows; give one row per image, its name under file")
    for number, name in enumerate(names, start=1):
        if not name:
            raise table.user_error(f"{path}: row {number} names no file; fill it in or remove it")
    return [table.find_file(path.parent, name) for name in names]


def _of_csv(path: Path) -> list[str]:
    return [cells[_COLUMN] for _, cells in table.read(path, (_COLUMN,))]


def _of_parquet(path: Path) -> list[str]:
    check_pyarrow(path)
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if _COLUMN not in names:
                raise UserError(
                    f"{path}: no column {_COLUMN}: it has {', '.join(names) or 'none'}; the column "
                    f"with the paths of the images must be called {_COLUMN}"
                )
            column = file.read([_COLUMN]).column(_COLUMN)
    except (OSError, pyarrow.ArrowException) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise table.user_error(f"{path}: cannot be read as Parquet ({why}); check it") from None
    return ["" if name is None else str(name) for name in column.to_pylist()]
