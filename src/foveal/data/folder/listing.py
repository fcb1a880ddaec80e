"""Which images a user's folder or CSV names, with what label, in which part; none is opened."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from foveal.data.folder import table
from foveal.data.folder.table import fault, first_three

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm", ".pgm")
)
"""Endings of the files taken for images, in lower case."""

PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Words for the parts of a data set, in folder names and in the column `split`."""


@dataclass(frozen=True)
class Entry:
    """One image.

    Attributes:
        path: where it lies, normalised.
        file: its name relative to the folder, or as the CSV has it.
        label: the name of its class.
        part: "train", "validation", "test", or None where nothing says so.
    """

    path: Path
    file: str
    label: str
    part: str | None


@dataclass(frozen=True)
class Listing:
    """All entries of a data set, and what should be said about what was left out."""

    entries: list[Entry]
    notes: tuple[str, ...]


def read(path: Path) -> Listing:
    """List a folder of class folders, or a CSV `file,label[,split]`.

    Raises:
        UserError: for whatever makes the labels or the parts doubtful.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise fault(f"{path}: no such folder or CSV; check the path")
    if path.suffix.lower() in SUFFIXES:
        raise fault(f"{path}: an image, not a data set; name a folder of class folders or a CSV")
    return _of_csv(path)


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 10 after 9."""
    pieces = re.split(r"(\d+)", name)
    return [(int(p), "") if p.isdecimal() else (-1, p.casefold()) for p in pieces] + [(-1, name)]


def _of_folder(root: Path) -> Listing:
    folders = _folders(root)
    parts = [f for f in folders if f.name.lower() in PARTS and _folders(f)]
    if not parts:
        entries, others = _of_class_folders(root, root, None)
        return Listing(entries, _said(others))
    strays = [f"{f.name}/" for f in folders if f not in parts and _files(f)[0]]
    strays += [f.name for f in _children(root) if f.is_file() and _is_image(f)]
    if strays:
        raise fault(
            f"{root}: images in no class folder beside {parts[0].name}/: {first_three(strays)};"
            " put them into train/CLASS/, val/CLASS/ or test/CLASS/, or move them away"
        )
    entries, others = [], [f for f in _children(root) if f.is_file()]
    for folder in parts:
        more, further = _of_class_folders(root, folder, PARTS[folder.name.lower()])
        entries, others = entries + more, others + further
    return Listing(entries, _said(others))


def _of_class_folders(root: Path, folder: Path, part: str | None) -> tuple[list[Entry], list[Path]]:
    classes = _folders(folder)
    beside = [f for f in _children(folder) if f.is_file()]
    images = [f.name for f in beside if _is_image(f)]
    tables = [f.name for f in beside if f.suffix.lower() == ".csv" and f.name != "boxes.csv"]
    csv = f", or name the CSV {folder / tables[0]}" if tables else ", or name a CSV file,label"
    if not classes:
        found = f"{len(images)} images but no" if images else "no images and no"
        raise fault(f"{folder}: {found} class folders; make one sub-folder per class{csv}")
    if images:
        raise fault(
            f"{folder}: {len(images)} images lie beside the class folders ({first_three(images)});"
            f" move each into the folder of its class{csv}"
        )
    entries, others, empty = [], beside, []
    for name in classes:
        found_images, found_others = _files(name)
        others = others + found_others
        if not found_images:
            empty.append(f"{name.name}/")
        for file in found_images:
            relative = file.relative_to(root).as_posix()
            entries.append(Entry(Path(os.path.normpath(file)), relative, name.name, part))
    if len(empty) == len(classes):
        raise fault(f"{folder}: no images in {first_three(empty)}; images end in {_endings()}{csv}")
    if empty:
        raise fault(
            f"{folder}: no images in {first_three(empty)}; add some (they end in {_endings()})"
            " or remove the folder"
        )
    return entries, others


def _children(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things apart, in natural order."""
    hidden = (".", "__MACOSX")
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(hidden)]
    except PermissionError:
        raise fault(f"{folder}: may not be read; change its permissions") from None
    return sorted(children, key=lambda child: natural(child.name))


def _folders(folder: Path) -> list[Path]:
    return [child for child in _children(folder) if child.is_dir()]


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images, and other files, anywhere under a folder."""
    images, others = [], []
    for child in _children(folder):
        if child.is_dir():
            further_images, further_others = _files(child)
            images += further_images
            others += further_others
        else:
            (images if _is_image(child) else others).append(child)
    return images, others


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _endings() -> str:
    return " ".join(sorted(SUFFIXES))


def _said(others: list[Path]) -> tuple[str, ...]:
    kinds = Counter(f.suffix.lower() or f.name for f in others if f.name != "boxes.csv")
    if not kinds:
        return ()
    counts = first_three([f"{count} {kind}" for kind, count in kinds.most_common()])
    return (f"ignored {kinds.total()} other files ({counts})",)


def _of_csv(path: Path) -> Listing:
    rows = table.read(path, ("file", "label"))
    if not rows:
        raise fault(f"{path}: no rows under the header; add one row file,label per image")
    entries: dict[Path, tuple[int, Entry]] = {}
    missing, conflicts, repeated = [], [], 0
    for line, cells in rows:
        entry = _entry(path, line, cells)
        first, known = entries.setdefault(entry.path, (line, entry))
        if (known.label, known.part) != (entry.label, entry.part):
            conflicts.append(f"{entry.file} (lines {first} and {line})")
        repeated += first != line
        if not entry.path.is_file():
            missing.append(f"{entry.file} (line {line})")
    if missing:
        raise fault(
            f"{path}: {len(missing)} of {len(rows)} files are missing: {first_three(missing)};"
            f" the names are relative to {path.parent}"
        )
    if conflicts:
        raise fault(
            f"{path}: {len(conflicts)} files stand there twice with different labels or splits:"
            f" {first_three(conflicts)}; keep one row of each"
        )
    parts = Counter(entry.part for _, entry in entries.values())
    if parts[None] and len(parts) > 1:
        raise fault(
            f"{path}: {parts[None]} rows have no split; give train, val or test in each row"
        )
    notes = (f"ignored {repeated} repeated rows",) if repeated else ()
    return Listing([entry for _, entry in entries.values()], notes)


def _entry(path: Path, line: int, cells: dict[str, str]) -> Entry:
    for column in ("file", "label"):
        if not cells[column]:
            raise fault(f"{path} line {line}: empty {column}; fill it in or remove the row")
    word = cells.get("split", "")
    if word and word.lower() not in PARTS:
        raise fault(f"{path} line {line}: unknown split {word!r}; use train, val or test")
    where = Path(os.path.normpath(path.parent / cells["file"]))
    return Entry(where, cells["file"], cells["label"], PARTS.get(word.lower()))
