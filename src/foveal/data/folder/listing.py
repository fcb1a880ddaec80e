"""Lists the images of a folder or CSV with their labels and splits; no image is opened."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foveal.data.folder import labels_csv
from foveal.data.folder.listed import ListedImage, Listing, split_of
from foveal.data.folder.table import shorten, user_error
from foveal.data.folder.tree import Folder, LeftOut, is_image, natural_key, scan, suffixes

__all__ = ["ListedImage", "Listing", "image_files", "list_folder", "natural_key", "read"]

_NO_TABLES = {
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "unpack it"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save it as CSV (UTF-8)"),
    **dict.fromkeys((".json", ".jsonl", ".parquet", ".xml"), "write a CSV file,label from it"),
}
"""What to do with files that are often named as data."""


def read(path: Path, *, multilabel: bool = False, classes: Sequence[str] | None = None) -> Listing:
    """List a folder of class folders, or a CSV `file,label[,split][,group]`.

    Args:
        path: of the folder or CSV.
        multilabel: read labels as sets of classes; see `labels_csv.read`.
        classes: names that are classes in any case; None: unknown.

    Raises:
        UserError: labels or splits are missing, contradictory or ambiguous.
    """
    if path.is_dir():
        if multilabel:
            raise user_error(
                f"{path}: class folders give one class per image; list the images in a CSV"
                " file,label with labels like cat|dog"
            )
        root, left_out = scan(path)
        return _list_tree(root, left_out, classes or ())
    if not path.exists():
        raise user_error(f"{path}: no such folder or CSV; check the path")
    if is_image(path):
        raise user_error(
            f"{path}: an image, not a data set; name a folder of class folders or a CSV"
        )
    if remedy := _NO_TABLES.get(path.suffix.lower()):
        raise user_error(f"{path}: not a folder and not a CSV; {remedy}")
    listing = labels_csv.read(path, multilabel=multilabel)
    folders = sorted({i.path.parent for i in listing.images if isinstance(i.path, Path)})
    found = [folder / "boxes.csv" for folder in folders if (folder / "boxes.csv").is_file()]
    misplaced = _misplaced_boxes(path.parent, found, path.parent)
    return replace(listing, notes=(*listing.notes, *misplaced))


def image_files(folder: Path) -> list[Path]:
    """All images in a folder and below that count (see `tree`), in natural order.

    Raises:
        UserError: there is none.
    """
    return list_folder(folder)[0]


def list_folder(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """All images in a folder and below that count, and notes on what was left out.

    Raises:
        UserError: there is none.
    """
    root, left_out = scan(folder)
    images, notes = list(root.all_images()), left_out.notes()
    if not images:
        why = "".join(f"; {note}" for note in notes)
        raise user_error(f"{folder}: no images in this folder; images end in {suffixes()}{why}")
    return images, notes


def _list_tree(root: Folder, left_out: LeftOut, classes: Sequence[str]) -> Listing:
    inner = _unwrap(root, classes)
    notes = [] if inner is root else [f"images are in {inner.path}"]
    home = root.path if "boxes.csv" in left_out.boxes else inner.path
    notes += _misplaced_boxes(home, [root.path / name for name in left_out.boxes], root.path)
    splits = [f for f in inner.folders if split_of(f.path.name) and f.folders]
    if not splits:
        images = _list_class_folders(root, inner, None)
        notes += _misnamed_splits(inner)
        return Listing(images, (*notes, *left_out.notes()), home)
    strays = [f"{f.path.name}/" for f in inner.folders if f not in splits and any(f.all_images())]
    strays += [f.name for f in inner.images]
    if strays:
        raise user_error(
            f"{inner.path}: images in no class folder beside {splits[0].path.name}/:"
            f" {shorten(strays)};"
            " put them into train/CLASS/, val/CLASS/ or test/CLASS/, or move them away"
        )
    images = []
    for folder in splits:
        of_classes = _unwrap_split(folder)
        images += _list_class_folders(root, of_classes, split_of(folder.path.name))
    return Listing(images, (*notes, *left_out.notes()), home)


def _misplaced_boxes(home: Path, found: Sequence[Path], root: Path) -> list[str]:
    """A remark where a `boxes.csv` lies where it is not read."""
    misplaced = [os.path.relpath(file, root) for file in found if file.parent != home]
    if not misplaced:
        return []
    return [
        f"warning: ignored {shorten(misplaced)}: boxes are read from {home / 'boxes.csv'} alone,"
        f" with the names of files relative to {home}"
    ]


def _unwrap(root: Folder, classes: Sequence[str]) -> Folder:
    """The only folder in a folder, in that again, down to the class or split folders."""
    inner = root
    while not inner.images and len(inner.folders) == 1:
        only = inner.folders[0]
        name = only.path.name
        if only.images or not only.folders or name in classes or split_of(name):
            break
        inner = only
    return inner


def _unwrap_split(folder: Folder) -> Folder:
    """The class folders of train/train/."""
    only = folder.folders[0]
    same = split_of(only.path.name) == split_of(folder.path.name)
    if not folder.images and len(folder.folders) == 1 and same and only.folders:
        return only
    return folder


def _misnamed_splits(root: Folder) -> list[str]:
    """A remark where all class folders hold the same folders, as splits of other names would."""
    contents = {tuple(f.path.name for f in folder.folders) for folder in root.folders}
    loose = any(folder.images for folder in root.folders)
    if loose or len(root.folders) < 2 or len(contents) != 1 or len(next(iter(contents))) < 2:
        return []
    outer = shorten([f"{folder.path.name}/" for folder in root.folders])
    within = shorten([f"{name}/" for name in next(iter(contents))])
    return [f"each of {outer} holds {within}: if these are splits, call them train/, val/, test/"]


def _list_class_folders(root: Folder, folder: Folder, split: str | None) -> list[ListedImage]:
    """The images below the class folders in `folder`."""
    csv = _csv_hint(folder.path)
    loose = [image.name for image in folder.images]
    if not folder.folders:
        found = f"{len(loose)} images but no" if loose else "no images and no"
        raise user_error(
            f"{folder.path}: {found} class folders; make one sub-folder per class{csv}"
        )
    if loose:
        raise user_error(
            f"{folder.path}: {len(loose)} images lie beside the class folders ({shorten(loose)});"
            f" move each into the folder of its class{csv}"
        )
    images, empty = [], []
    for class_folder in folder.folders:
        files, name = list(class_folder.all_images()), class_folder.path.name
        if not files:
            empty.append(f"{name}/")
        for file in files:
            path = Path(os.path.normpath(file))
            relative = file.relative_to(root.path).as_posix()
            images.append(ListedImage(path, relative, name, split))
    if len(empty) == len(folder.folders):
        raise user_error(
            f"{folder.path}: no images in {shorten(empty)}; images end in {suffixes()}{csv}"
        )
    if empty:
        raise user_error(
            f"{folder.path}: no images in {shorten(empty)}; add some (they end in {suffixes()})"
            " or remove the folder"
        )
    return images


def _csv_hint(folder: Path) -> str:
    tables = sorted(f for f in folder.iterdir() if f.suffix.lower() == ".csv")
    names = [str(table) for table in tables if table.name != "boxes.csv"]
    return f", or name the CSV {names[0]}" if names else ", or name a CSV file,label"
