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
from foveal.evaluation.cases import Shares
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
    files, end = Counter[str](), 0
    for row in _rows(path, classes):
        end += row.size
        if row.file is not None:
            files[row.file] += 1
    return Rows(files, end)


def read_shares(path: Path, classes: Sequence[str]) -> Iterator[tuple[str, Shares | None]]:
    """The image of each row, and class -> probability, or None where it could not be predicted.

    Args:
        path: see `read_rows`.
        classes: names of the model's classes.

    Raises:
        UserError: see `read_rows`.
    """
    return ((row.file, row.shares) for row in _rows(path, classes) if row.file is not None)


class _Row(NamedTuple):
    """A row of results; the header of a CSV has no file."""

    file: str | None
    shares: Shares | None
    size: int


def _rows(path: Path, classes: Sequence[str]) -> Iterator[_Row]:
    is_csv = path.suffix.lower() == ".csv"
    try:
        with path.open("rb") as file:
            for number, row in enumerate(_whole_rows(file, quoted=is_csv)):
                if not is_csv:
                    yield _Row(*_of_json(row, classes), len(row))
                elif number > 0:
                    yield _Row(*_of_csv(row, classes), len(row))
                elif row.decode() == next(csv_lines((), classes)):
                    yield _Row(None, None, len(row))
                else:
                    raise ValueError("other columns")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check --output") from None
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path}: no predictions of this run ({error}); give the file that the interrupted "
            "command wrote, or leave out --resume to replace it"
        ) from None


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


def _of_json(row: bytes, classes: Sequence[str]) -> tuple[str, Shares | None]:
    fields = _json.loads(row)
    if fields["error"] is not None:
        return str(fields["file"]), None
    shares = fields["probabilities"]
    if list(shares) != list(classes):
        raise ValueError("other classes")
    return str(fields["file"]), {name: float(share) for name, share in shares.items()}


def _of_csv(row: bytes, classes: Sequence[str]) -> tuple[str, Shares | None]:
    (cells,) = csv.reader([row.decode()])
    if len(cells) != 5 + len(classes):
        raise ValueError(f"a row of {len(cells)} cells where {5 + len(classes)} are expected")
    file, shares = active(cells[0]), cells[3:-2]
    return file, None if cells[-1] else dict(zip(classes, map(float, shares), strict=True))
