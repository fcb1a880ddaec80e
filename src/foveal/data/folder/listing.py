"""Lists the images of a folder or CSV with their labels and splits; no image is opened."""

import os
import re
from collections import Counter
from pathlib import Path

from foveal.data.folder import labels_csv
from foveal.data.folder.listed import SPLIT_NAMES, ListedImage, Listing
from foveal.data.folder.table import shorten, user_error

__all__ = ["ListedImage", "Listing", "image_files", "natural_key", "read"]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm", ".pgm")
)
"""Endings of image files, in lower case."""


def read(path: Path, *, multilabel: bool = False) -> Listing:
    """List a folder of class folders, or a CSV `file,label[,split][,group]`.

    Args:
        path: of the folder or CSV.
        multilabel: read labels as sets of classes; see `labels_csv.read`.

    Raises:
        UserError: labels or splits are missing, contradictory or ambiguous.
    """
    if path.is_dir():
        if multilabel:
            raise user_error(
                f"{path}: class folders give one class per image; list the images in a CSV"
                " file,label with labels like cat|dog"
            )
        return _list_folder(path)
    if not path.exists():
        raise user_error(f"{path}: no such folder or CSV; check the path")
    if _is_image(path):
        raise user_error(
            f"{path}: an image, not a data set; name a folder of class folders or a CSV"
        )
    return labels_csv.read(path, multilabel=multilabel)


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
