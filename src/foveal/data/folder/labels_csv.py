"""A CSV of labelled images: `file,label[,split][,group]`, or one column of 0 and 1 per class.

A `|` in any label makes the data set multi-label: `cat|dog` has both classes, an empty cell none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from foveal.data.folder import table
from foveal.data.folder.listed import ListedImage, Listing, split_of
from foveal.data.folder.table import shorten, user_error
from foveal.data.labels import LabelName
from foveal.images.locations import Location, is_there

SEPARATOR = "|"
_NO_CLASS = ("file", "label", "split", "group")  # columns that are not the name of a class
_MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}

_Rows = list[tuple[int, dict[str, str]]]
_ReadLabel = Callable[[int, dict[str, str]], LabelName]


def read(path: Path, *, multilabel: bool = False) -> Listing:
    """List the images of a CSV.

    Args:
        path: the CSV; files are relative to its folder, or URLs.
        multilabel: read labels as sets of classes even if no label has a `|`; without a column
            `label`, every column of 0 and 1 is a class.

    Raises:
        UserError: rows are missing, contradictory or about missing files.
    """
    required = ("file",) if multilabel else ("file", "label")
    rows = table.read(path, required, optional=_NO_CLASS)
    if not rows:
        raise user_error(f"{path}: no rows under the header; add one row file,label per image")
    read_label = _label_reader(path, rows, multilabel=multilabel)
    images: dict[Location, tuple[int, ListedImage]] = {}
    missing, conflicts, repeated = [], [], 0
    for line, cells in rows:
        image = _listed(path, line, cells, read_label(line, cells))
        first, known = images.setdefault(image.path, (line, image))
        if _facts(known) != _facts(image):
            conflicts.append(f"{image.file} (lines {first} and {line})")
        repeated += first != line
        if not is_there(image.path):
            missing.append(f"{image.file} (line {line})")
    if missing:
        raise user_error(
            f"{path}: {len(missing)} of {len(rows)} files are missing: {shorten(missing)};"
            f" names are relative to {path.parent}"
        )
    if conflicts:
        raise user_error(
            f"{path}: {len(conflicts)} files are listed twice with different labels or splits or"
            f" groups: {shorten(conflicts)}; keep one row of each"
        )
    splits = Counter(image.split for _, image in images.values())
    if splits[None] and len(splits) > 1:
        raise user_error(
            f"{path}: {splits[None]} rows have no split; give train, val or test in each row"
        )
    notes: tuple[str, ...] = (f"ignored {repeated} repeated rows",) if repeated else ()
    notes += () if "split" in rows[0][1] else _unnamed_splits(rows)
    return Listing([image for _, image in images.values()], notes, path.parent)


def _unnamed_splits(rows: _Rows) -> tuple[str, ...]:
    """A remark on a column of another name that holds nothing but names of splits."""
    return tuple(
        f"warning: ignored the column {name}: if it holds the splits, call it split"
        for name in rows[0][1]
        if name not in _NO_CLASS and all(split_of(cells[name]) for _, cells in rows)
    )


def _facts(image: ListedImage) -> tuple[LabelName, str | None, str | None]:
    return image.label, image.split, image.group


def _listed(path: Path, line: int, cells: dict[str, str], label: LabelName) -> ListedImage:
    if not cells["file"]:
        raise user_error(f"{path} line {line}: empty file; fill it in or remove the row")
    word = cells.get("split", "")
    if word and split_of(word) is None:
        raise user_error(f"{path} line {line}: unknown split {word!r}; use train, val or test")
    file = table.find_file(path.parent, cells["file"])
    group = cells.get("group") or None
    return ListedImage(file, cells["file"], label, split_of(word), group)


def _label_reader(path: Path, rows: _Rows, *, multilabel: bool) -> _ReadLabel:
    """How a row's label is read, decided on all rows."""
    columns = list(rows[0][1])
    if "label" not in columns:
        classes = [name for name in columns if name not in _NO_CLASS]
        if not classes:
            raise user_error(
                f"{path}: no column label and no columns of classes in the header, which has"
                f" {', '.join(columns)}; add label, or a column of 0 and 1 per class"
            )
        marked = {line: _marked(path, line, cells, classes) for line, cells in rows}
        if unused := sorted(set(classes).difference(*marked.values())):
            raise user_error(
                f"{path}: no row has a 1 in the column {shorten(unused)}; remove it, or add images"
            )
        return lambda line, cells: marked[line]
    if multilabel or any(SEPARATOR in cells["label"] for _, cells in rows):
        return lambda line, cells: _several(path, line, cells["label"])
    return lambda line, cells: _one(path, line, cells["label"])


def _one(path: Path, line: int, cell: str) -> str:
    if not cell:
        raise user_error(
            f"{path} line {line}: empty label; fill it in or remove the row, or, if an image may"
            " have no class or several, choose --multilabel"
        )
    return cell


def _several(path: Path, line: int, cell: str) -> tuple[str, ...]:
    """The classes in a cell, in order of their names.

    >>> _several(Path("t.csv"), 2, "owl | cat")
    ('cat', 'owl')
    """
    names = {name.strip() for name in cell.split(SEPARATOR)} if cell else set[str]()
    if "" in names:
        raise user_error(
            f"{path} line {line}: an empty name in {cell!r}; write cat{SEPARATOR}dog, or nothing"
            " for no class"
        )
    return tuple(sorted(names))


def _marked(
    path: Path, line: int, cells: dict[str, str], classes: Sequence[str]
) -> tuple[str, ...]:
    """The classes whose column holds a 1."""
    for name in classes:
        if cells[name].lower() not in _MARKS:
            raise user_error(
                f"{path} line {line}: {cells[name]!r} in the column {name}; a column of a class"
                " holds 0 or 1, remove columns of other things"
            )
    return tuple(sorted(name for name in classes if _MARKS[cells[name].lower()]))
