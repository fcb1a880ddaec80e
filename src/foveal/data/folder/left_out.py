"""Exactly which files a folder or CSV leaves out, and why."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from foveal.data.folder.listed import ListedImage
from foveal.data.folder.tree import LeftOut, is_image, list_entries

_FEW = 5  # files of one pattern that are each named
_WHY = {
    "other files": "its name does not end like an image",
    "hidden or system files and folders": "hidden, or of the system",
    "links back to a folder above them": "a link back to a folder above it",
    "special files": "a pipe, a socket or a device",
    "folders written by foveal": "written by foveal",
}


def of_folder(found: LeftOut) -> list[str]:
    """A line for each file or folder that is left out, or for all of an ending in a folder."""
    return [
        f"{name}: {_WHY[what]}"
        for what, names in found.by_reason().items()
        for name in _exactly(names)
    ]


def of_table(table: Path, images: Iterable[ListedImage]) -> list[str]:
    """The images that a CSV does not list, in the folders of those that it lists.

    Args:
        table: the CSV.
        images: those that it lists.
    """
    listed = {os.path.abspath(i.path) for i in images if isinstance(i.path, Path)}
    folders = sorted({os.path.dirname(file) for file in listed})
    beside = [
        os.path.join(folder, entry.name)
        for folder in folders
        for entry in list_entries(Path(folder))
    ]
    unlisted = [
        os.path.relpath(file, os.path.abspath(table.parent))
        for file in beside
        if file not in listed and is_image(Path(file)) and os.path.isfile(file)
    ]
    return [f"{name}: not in {table.name}" for name in _exactly(unlisted)]


def _exactly(names: Sequence[str]) -> list[str]:
    """Every name; many of one folder and ending as a pattern.

    >>> _exactly(["a/1.xml", "a/2.xml", "a/3.xml", "a/4.xml", "a/5.xml", "a/6.xml", "notes.txt"])
    ['a/*.xml (6)', 'notes.txt']
    """
    by_pattern: dict[str, list[str]] = {}
    for name in names:
        by_pattern.setdefault(_pattern(PurePosixPath(name)), []).append(name)
    return [
        shown
        for pattern, members in by_pattern.items()
        for shown in (members if len(members) <= _FEW else [f"{pattern} ({len(members)})"])
    ]


def _pattern(path: PurePosixPath) -> str:
    ending = ".*" if path.name.startswith(".") else f"*{path.suffix}" if path.suffix else path.name
    return str(path.parent / ending)
