"""Lists the images of a folder or CSV with their labels and splits; no image is opened."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from foveal.data.folder import table
from foveal.data.folder.table import shorten, user_error

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm", ".pgm")
)
"""Endings of image files, in lower case."""

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
        label: name of the class.
        split: "train", "validation", "test", or None if not given.
    """

    path: Path
    file: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Listing:
    """All images of a data set, and notes on what was ignored."""

    images: list[ListedImage]
    notes: tuple[str, ...]


def read(path: Path) -> Listing:
    """List a folder of class folders, or a CSV `file,label[,split]`.

    Raises:
        UserError: labels or splits are missing, contradictory or ambiguous.
    """
    if path.is_dir():
        return _list_folder(path)
    if not path.exists():
        raise user_error(f"{path}: no such folder or CSV; check the path")
    if _is_image(path):
        raise user_error(
            f"{path}: an image, not a data set; name a folder of class folders or a CSV"
        )
    return _list_csv(path)


def image_files(folder: Path) -> list[Path]:
    """All images in a folder and below, without hidden files, in natural order.

    Raises:
        UserError: there is none.
    """
    images, _ = _files(folder)
    if not images:
        raise user_error(f"{folder}: no images in this folder; images end in {_suffixes()}")
    return images


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key of the natural order, in which 10 comes after 9.

    >>> sorted(["a10", "a9", "B1"], key=natural_key)
    ['a9', 'a10', 'B1']
    """
    pieces = re.split(r"(\d+)", name)
    return [(int(p), "") if p.isdecimal() else (-1, p.casefold()) for p in pieces] + [(-1, name)]


def _list_folder(root: Path) -> Listing:
    folders = _folders(root)
    splits = [f for f in folders if f.name.lower() in SPLIT_NAMES and _folders(f)]
    if not splits:
        images, others = _list_class_folders(root, root, None)
        return Listing(images, _ignored(others))
    strays = [f"{f.name}/" for f in folders if f not in splits and _files(f)[0]]
    strays += [f.name for f in _children(root) if f.is_file() and _is_image(f)]
    if strays:
        raise user_error(
            f"{root}: images in no class folder beside {splits[0].name}/: {shorten(strays)};"
            " put them into train/CLASS/, val/CLASS/ or test/CLASS/, or move them away"
        )
    images, others = [], [f for f in _children(root) if f.is_file()]
    for folder in splits:
        more, further = _list_class_folders(root, folder, SPLIT_NAMES[folder.name.lower()])
        images, others = images + more, others + further
    return Listing(images, _ignored(others))


def _list_class_folders(
    root: Path, folder: Path, split: str | None
) -> tuple[list[ListedImage], list[Path]]:
    """The images below the class folders in `folder`, and all other files there."""
    classes = _folders(folder)
    beside = [f for f in _children(folder) if f.is_file()]
    csv = _csv_hint(folder, beside)
    loose = [f.name for f in beside if _is_image(f)]
    if not classes:
        found = f"{len(loose)} images but no" if loose else "no images and no"
        raise user_error(f"{folder}: {found} class folders; make one sub-folder per class{csv}")
    if loose:
        raise user_error(
            f"{folder}: {len(loose)} images lie beside the class folders ({shorten(loose)});"
            f" move each into the folder of its class{csv}"
        )
    images, others, empty = [], beside, []
    for class_folder in classes:
        files, other_files = _files(class_folder)
        others = others + other_files
        if not files:
            empty.append(f"{class_folder.name}/")
        for file in files:
            relative = file.relative_to(root).as_posix()
            path = Path(os.path.normpath(file))
            images.append(ListedImage(path, relative, class_folder.name, split))
    if len(empty) == len(classes):
        raise user_error(
            f"{folder}: no images in {shorten(empty)}; images end in {_suffixes()}{csv}"
        )
    if empty:
        raise user_error(
            f"{folder}: no images in {shorten(empty)}; add some (they end in {_suffixes()})"
            " or remove the folder"
        )
    return images, others


def _csv_hint(folder: Path, files: list[Path]) -> str:
    tables = [f.name for f in files if f.suffix.lower() == ".csv" and f.name != "boxes.csv"]
    return f", or name the CSV {folder / tables[0]}" if tables else ", or name a CSV file,label"


def _children(folder: Path) -> list[Path]:
    """The content of a folder without hidden files, in natural order."""
    hidden = (".", "__MACOSX")
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(hidden)]
    except PermissionError:
        raise user_error(f"{folder}: permission denied; change its permissions") from None
    return sorted(children, key=lambda child: natural_key(child.name))


def _folders(folder: Path) -> list[Path]:
    return [child for child in _children(folder) if child.is_dir()]


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images, and other files, in a folder and below."""
    images, others = [], []
    for child in _children(folder):
        if child.is_dir():
            more_images, more_others = _files(child)
            images += more_images
            others += more_others
        else:
            (images if _is_image(child) else others).append(child)
    return images, others


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _suffixes() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))


def _ignored(files: list[Path]) -> tuple[str, ...]:
    """A note on files that are no images, counted by kind."""
    kinds = Counter(f.suffix.lower() or f.name for f in files if f.name != "boxes.csv")
    if not kinds:
        return ()
    counts = shorten([f"{count} {kind}" for kind, count in kinds.most_common()])
    return (f"ignored {kinds.total()} other files ({counts})",)


def _list_csv(path: Path) -> Listing:
    rows = table.read(path, ("file", "label"))
    if not rows:
        raise user_error(f"{path}: no rows under the header; add one row file,label per image")
    images: dict[Path, tuple[int, ListedImage]] = {}
    missing, conflicts, repeated = [], [], 0
    for line, cells in rows:
        image = _listed(path, line, cells)
        first, known = images.setdefault(image.path, (line, image))
        if (known.label, known.split) != (image.label, image.split):
            conflicts.append(f"{image.file} (lines {first} and {line})")
        repeated += first != line
        if not image.path.is_file():
            missing.append(f"{image.file} (line {line})")
    if missing:
        raise user_error(
            f"{path}: {len(missing)} of {len(rows)} files are missing: {shorten(missing)};"
            f" names are relative to {path.parent}"
        )
    if conflicts:
        raise user_error(
            f"{path}: {len(conflicts)} files are listed twice with different labels or splits:"
            f" {shorten(conflicts)}; keep one row of each"
        )
    splits = Counter(image.split for _, image in images.values())
    if splits[None] and len(splits) > 1:
        raise user_error(
            f"{path}: {splits[None]} rows have no split; give train, val or test in each row"
        )
    notes = (f"ignored {repeated} repeated rows",) if repeated else ()
    return Listing([image for _, image in images.values()], notes)


def _listed(path: Path, line: int, cells: dict[str, str]) -> ListedImage:
    for column in ("file", "label"):
        if not cells[column]:
            raise user_error(f"{path} line {line}: empty {column}; fill it in or remove the row")
    word = cells.get("split", "")
    if word and word.lower() not in SPLIT_NAMES:
        raise user_error(f"{path} line {line}: unknown split {word!r}; use train, val or test")
    file = Path(os.path.normpath(path.parent / cells["file"]))
    return ListedImage(file, cells["file"], cells["label"], SPLIT_NAMES.get(word.lower()))
