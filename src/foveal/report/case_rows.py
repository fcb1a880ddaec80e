"""The predictions of cases as CSV, a row for each, from the rows of their images.

    case, label, probability, CLASS, CLASS, ..., images, file, error

`images` is the number of images of the case, `file` the one that says most for the label.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from foveal._csv import csv_line, inert
from foveal._files import check_writable, explained, write
from foveal.data.labels import text
from foveal.errors import UserError
from foveal.evaluation import Thresholds
from foveal.evaluation.cases import Case, Shares, case_of
from foveal.report.rows import class_columns, encodable
from foveal.report.rows_file import read_shares

_BEFORE, _AFTER = ("case", "label", "probability"), ("images", "file", "error")


def check_cases_file(path: Path) -> None:
    """Refuse what is no name of a CSV, or cannot be written, before hours are spent on its rows.

    Raises:
        UserError: one line with the remedy.
    """
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise UserError(f"--cases {path}: name a file that ends in .csv")
    check_writable(path.parent)


def write_cases(
    path: Path,
    rows: Path,
    case_by_file: Mapping[str, str],
    classes: Sequence[str],
    *,
    nothing: str | None,
    multilabel: bool,
    thresholds: Thresholds | None,
) -> int:
    """Write the predictions of cases, all of them or nothing; return how many there are.

    Args:
        path: the file to write.
        rows: the file with the rows of the images, CSV or JSON lines; those of no case are left
            out of account.
        case_by_file: the case of each image.
        classes: names of the model's classes.
        nothing: see `case_of`.
        multilabel: see `case_of`.
        thresholds: see `case_of`.

    Raises:
        UserError: the rows cannot be read, or the file cannot be written.
    """
    images: dict[str, list[tuple[str, Shares | None]]] = {}
    for name in case_by_file.values():
        images[name] = []  # in the order of the table
    names = {encodable(file): case for file, case in case_by_file.items()}
    for file, shares in read_shares(rows, classes):
        if file in names:
            images[names[file]].append((file, shares))
    cases = [
        case_of(name, some, nothing=nothing, multilabel=multilabel, thresholds=thresholds)
        for name, some in images.items()
    ]
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write(path, "".join(_lines(cases, classes)).encode())
    return len(cases)


def _lines(cases: Sequence[Case], classes: Sequence[str]) -> Iterator[str]:
    columns = class_columns(classes, (*_BEFORE, *_AFTER))
    yield csv_line(inert(encodable(cell)) for cell in (*_BEFORE, *columns, *_AFTER))
    for case in cases:
        known = case.failed < case.images
        numbers = (case.probability, *(case.probabilities.get(name, 0.0) for name in classes))
        cells = (
            case.name,
            text(case.label) if known else "",
            *(f"{number:.6f}" if known else "" for number in numbers),
            str(case.images),
            case.image,
            f"{case.failed} of {case.images} images could not be predicted" if case.failed else "",
        )
        yield csv_line(inert(encodable(cell)) for cell in cells)
