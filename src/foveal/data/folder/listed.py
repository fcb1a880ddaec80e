"""One image of a folder or CSV, as it was listed; nothing here opens it."""

import re
from dataclasses import dataclass
from pathlib import Path

from foveal.data.labels import LabelName
from foveal.images.locations import Location

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(name: str) -> str | None:
    """The split that a folder, or a cell of the column `split`, names; None if it names none.

    >>> [split_of(name) for name in ("Testing", "dev", "training_set", "trainer")]
    ['test', 'validation', 'train', None]
    """
    return _SPLITS.get(re.sub(r"[ _-]?(set|data|images)$", "", name.lower()))


@dataclass(frozen=True)
class ListedImage:
    """One image of a folder or CSV.

    Attributes:
        path: normalised path of the file, or its URL.
        file: name relative to the folder, or as written in the CSV.
        label: name of the class; multi-label: the tuple of the names of its classes.
        split: "train", "validation", "test", or None if not given.
        group: name of what it belongs to (a patient, a road, a day), or None if not given.
    """

    path: Location
    file: str
    label: LabelName
    split: str | None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """All images of a data set.

    Attributes:
        images: in natural order, or that of the table.
        notes: remarks on what was ignored.
        folder: where a `boxes.csv` would be.
    """

    images: list[ListedImage]
    notes: tuple[str, ...]
    folder: Path
