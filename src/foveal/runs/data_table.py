"""data.csv: the images of a run by split, with what they were when training began.

    split,file,path,label,group,size,sha256
    train,good/1.png,/data/photos/good/1.png,good,,48201,9f86d081...

A random split drawn again from a folder that has changed would put images that were trained on
into test. So a run reads its splits from here, and names what has changed since.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from foveal._files import write as write_file
from foveal.data import Splits
from foveal.data.folder import ImageFiles
from foveal.data.folder.fingerprints import (
    Fingerprint,
    among,
    fingerprints,
    named_parts,
)
from foveal.data.folder.labels_csv import SEPARATOR
from foveal.data.folder.listed import ListedImage
from foveal.data.folder.table import shorten
from foveal.data.labels import LabelName
from foveal.errors import UserError
from foveal.images.locations import Location, absolute, is_there, location

_COLUMNS = ("split", "file", "path", "label", "group", "size", "sha256")
_SPLITS = ("train", "validation", "test")
_UNREADABLE = Fingerprint(-1, "")


@dataclass(frozen=True)
class Recorded:
    """An image of a run.

    Attributes:
        image: its file, label, split and group.
        content: what the file held when training began.
    """

    image: ListedImage
    content: Fingerprint


def write(file: Path, splits: Splits) -> bool:
    """Write the images of all splits; nothing is written unless all splits consist of files.

    Returns:
        Whether the table was written.

    Raises:
        UserError: it cannot be written.
    """
    parts = named_parts(splits)
    if len(parts) < 2 + (splits.test is not None):
        return False
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for name, part in parts.items():
        found = fingerprints([image.path for image in part.images])
        for image, content in zip(part.images, found, strict=True):
            label = image.label if isinstance(image.label, str) else SEPARATOR.join(image.label)
            place = absolute(image.path)
            rows.writerow(
                (name, image.file, place, label, image.group or "", *(content or _UNREADABLE))
            )
    write_file(file, text.getvalue().encode("utf-8", "surrogateescape"))
    return True


def read(file: Path, *, multilabel: bool) -> list[Recorded]:
    """Read the table of a run.

    Raises:
        UserError: it is damaged.
    """
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        found = [_recorded(row, multilabel=multilabel) for row in rows]
        if not found:
            raise ValueError("no rows")
        return found
    except (OSError, KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{file} is damaged: it lists no images of the run ({error})") from error


def _recorded(row: Mapping[str, str], *, multilabel: bool) -> Recorded:
    label: LabelName = row["label"]
    if multilabel:
        label = tuple(row["label"].split(SEPARATOR)) if row["label"] else ()
    split, group = row["split"], row["group"] or None
    image = ListedImage(location(row["path"]), row["file"], label, split, group)
    return Recorded(image, Fingerprint(int(row["size"]), row["sha256"]))


def recorded_splits(
    table: Path, read_now: Callable[[], Splits], *, classes: tuple[str, ...], multilabel: bool
) -> Splits:
    """The splits of a run, as they were when training began.

    Args:
        table: data.csv of the run.
        read_now: reads the data as they are now; says what is new, and where boxes are.
        classes: names of the run's classes.
        multilabel: whether labels are sets of classes.

    Returns:
        Data sets whose notes name what has changed since. Images that are gone stay listed.

    Raises:
        UserError: the table is damaged, or no image of it exists any more.
    """
    rows = read(table, multilabel=multilabel)
    _check_known(table, rows, classes)
    gone = [row.image.file for row in rows if not is_there(row.image.path)]
    if len(gone) == len(rows):
        raise UserError(
            f"none of the {len(rows)} images of the run exists any more, as {rows[0].image.path}:"
            " move the data back, or give --data"
        )
    notes: list[str] = []
    boxes: dict[Location, Int[Tensor, "n 4"]] = {}
    try:
        now = named_parts(read_now())
    except UserError as error:
        notes.append(f"the data are no longer as they were, boxes are left out: {error}")
    else:
        for part in now.values():
            boxes |= part.boxes
        notes += _differences(rows, [image for part in now.values() for image in part.images])
    if gone:
        notes.append(f"{len(gone)} images of the run are gone: {shorten(gone)}")
    if changed := _changed(rows):
        notes.append(f"{len(changed)} images of the run have changed: {shorten(changed)}")
    parts = {
        name: ImageFiles(
            [row.image for row in rows if row.image.split == name], classes, boxes, tuple(notes)
        )
        for name in _SPLITS
    }
    return Splits(
        parts["train"], parts["validation"], parts["test"] if len(parts["test"]) else None
    )


def _check_known(table: Path, rows: Sequence[Recorded], classes: tuple[str, ...]) -> None:
    """Refuse splits and labels that the run does not have."""
    for image in (row.image for row in rows):
        labels = (image.label,) if isinstance(image.label, str) else image.label
        if image.split not in _SPLITS or not set(labels) <= set(classes):
            raise UserError(
                f"{table} is damaged: {image.file} is of split {image.split!r} and label "
                f"{image.label!r}, which the run does not have"
            )
    if missing := {"train", "validation"} - {row.image.split for row in rows}:
        raise UserError(f"{table} is damaged: no image is of split {min(missing)}")


def overlap(table: Path, data: ImageFiles, *, multilabel: bool) -> dict[str, list[str]]:
    """Which images of other data the run has seen, byte by byte.

    Args:
        table: data.csv of the run.
        data: any images.
        multilabel: whether the run's labels are sets of classes.

    Returns:
        Names of the images of `data` by the split of the run that holds them, train and validation.

    Raises:
        UserError: the table is damaged.
    """
    rows = read(table, multilabel=multilabel)
    paths = {image.path: image.file for image in data.images}
    seen = {}
    for split in ("train", "validation"):
        known = {row.content for row in rows if row.image.split == split}
        seen[split] = [paths[path] for path in among(list(paths), known)]
    return seen


def _differences(rows: Sequence[Recorded], now: Sequence[ListedImage]) -> list[str]:
    """Remarks on new images, and on images whose label is another one."""
    known = {absolute(row.image.path): row.image.label for row in rows}
    labels = {absolute(image.path): image for image in now}
    new = [image.file for path, image in labels.items() if path not in known]
    other = [
        f"{image.file} ({image.label}, was {known[path]})"
        for path, image in labels.items()
        if path in known and image.label != known[path]
    ]
    notes = []
    if new:
        notes.append(f"{len(new)} images are new since, and in no split: {shorten(new)}")
    if other:
        notes.append(f"{len(other)} labels have changed, the old ones count: {shorten(other)}")
    return notes


def _changed(rows: Sequence[Recorded]) -> list[str]:
    """The files that hold something else now."""
    found = fingerprints([row.image.path for row in rows])
    pairs = zip(rows, found, strict=True)
    return [row.image.file for row, now in pairs if now not in (None, row.content)]
