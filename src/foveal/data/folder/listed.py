"""One image of a folder or CSV, as it was listed; nothing here opens it."""

from dataclasses import dataclass
from pathlib import Path

from foveal.data.labels import LabelName

SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Accepted names of the splits, as folder names and in the column `split`."""


@dataclass(frozen=True)
class ListedImage:
    """One image of a folder or CSV.

    Attributes:
        path: normalised path of the file.
        file: name relative to the folder, or as written in the CSV.
        label: name of the class; multi-label: the tuple of the names of its classes.
        split: "train", "validation", "test", or None if not given.
        group: name of what it belongs to (a patient, a road, a day), or None if not given.
    """

    path: Path
    file: str
    label: LabelName
    split: str | None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """All images of a data set, and notes on what was ignored."""

    images: list[ListedImage]
    notes: tuple[str, ...]
