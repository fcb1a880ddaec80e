"""A file of results that holds whole rows only, whenever and however the program is stopped.

A row is handed to the operating system at once, in one piece, as soon as it is known. Where that
fails half-way (a full disk, a power failure), the half row is cut off: at once if the program
lives, else by `read_rows` when the file is continued.
"""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from foveal import _json
from foveal._csv import active
from foveal._files import explained, no_links
from foveal.errors import UserError
from foveal.report.rows import csv_lines, encodable

T = TypeVar("T")


class Rows(NamedTuple):
    """What a file of results holds.

    Attributes:
        files: how often each image has a row.
        end: number of bytes of the whole rows; what follows is half a row.
    """

    files: Counter[str]
    end: int

    def missing(self, images: Sequence[T]) -> list[T]:
        """Those of the images that have no row; of one listed twice, a row is needed for each."""
        left, found = self.files.copy(), []
        for image in images:
            name = encodable(str(image))
            if left[name]:
                left[name] -= 1
            else:
                found.append(image)
        return found


NO_ROWS = Rows(Counter(), 0)


def read_rows(path: Path, classes: Sequence[str]) -> Rows:
    """The rows of an earlier, unfinished prediction; none if there is no such file.

    Args:
        path: a file that `rows.csv_lines` or `rows.json_lines` has written.
        classes: names of the model's classes.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    is_csv = path.suffix.lower() == ".csv"
    files, end = Counter[str](), 0
    try:
        with path.open("rb") as file:
            for number, row in enumerate(_whole_rows(file, quoted=is_csv)):
                end += len(row)
                if not is_csv:
                    files[_file_of_json(row, classes)] += 1
                elif number > 0:
                    files[active(_cells(row, 5 + len(classes))[0])] += 1
                elif row.decode() != next(csv_lines((), classes)):
                    raise ValueError("other columns")
    except FileNotFoundError:
        return Rows(files, 0)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check --output") from None
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path}: no predictions of this run ({error}); give the file that the interrupted "
            "command wrote, or leave out --resume to replace it"
        ) from None
    return Rows(files, end)


@contextmanager
def open_rows(path: Path, keep: int = 0) -> Iterator[Callable[[str], None]]:
    """A function that appends a row to a file, of which the first bytes are kept.

    Args:
        path: its folder is made if it does not exist.
        keep: number of bytes that stay; 0: an earlier file is replaced.

    Raises:
        UserError: it cannot be written; the rows that were written stay.
    """
    whole = keep

    def state() -> str:
        return "the rows written so far are kept; go on with --resume" if whole else ""

    with explained(path, state):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = no_links(str(path), os.O_RDWR | os.O_CREAT)
    with explained(path, state), open(descriptor, "r+b", buffering=0) as out:
        out.truncate(keep)
        out.seek(keep)

        def append(row: str) -> None:
            nonlocal whole
            content = memoryview(row.encode("utf-8"))
            while content:
                content = content[out.write(content) :]
            whole = out.tell()

        try:
            yield append
            os.fsync(out.fileno())
        finally:
            if out.tell() != whole:
                with suppress(OSError):
                    out.truncate(whole)


def _whole_rows(file: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """Rows with their line ends; a CSV's line end inside quotation marks ends no row."""
    row = b""
    for line in file:
        row += line
        if line.endswith(b"\n") and not (quoted and row.count(b'"') % 2):
            yield row
            row = b""


def _file_of_json(row: bytes, classes: Sequence[str]) -> str:
    fields = _json.loads(row)
    if fields["error"] is None and list(fields["probabilities"]) != list(classes):
        raise ValueError("other classes")
    return str(fields["file"])


def _cells(row: bytes, count: int) -> list[str]:
    (cells,) = csv.reader([row.decode()])
    if len(cells) != count:
        raise ValueError(f"a row of {len(cells)} cells where {count} are expected")
    return cells
