"""Labelled image files as a data set."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data.dataset import Example
from foveal.data.folder import boxes, listing
from foveal.data.folder.class_names import doubts
from foveal.data.folder.listed import ListedImage
from foveal.data.folder.listing import natural_key
from foveal.data.folder.table import shorten, user_error
from foveal.data.labels import Label, Labels
from foveal.images import FileImage
from foveal.images.locations import Location


class ImageFiles:
    """Labelled image files. Pixels are read when they are needed and not kept.

    Args:
        images: the files; every label is one of the classes, or a tuple of any of them.
        classes: names of the classes, in the order of their numbers.
        boxes: boxes by path, for the images that have some.
        notes: remarks on how the files were found or split.

    Attributes:
        images, classes, boxes, notes: as given.
        labels: class number of each image; multi-label: whether each image has each class.
        groups: name of the group of each image, or None if no image has one. An image without a
            group is one by itself, named after its file.
    """

    def __init__(
        self,
        images: Sequence[ListedImage],
        classes: tuple[str, ...],
        boxes: dict[Location, Int[Tensor, "n 4"]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.images = tuple(images)
        self.classes = classes
        self.labels = _labels(self.images, classes)
        self.groups: tuple[str, ...] | None = None
        if any(image.group is not None for image in self.images):
            self.groups = tuple(image.group or image.file for image in self.images)
        self.notes = notes
        self.boxes = boxes or {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        image = self.images[index]
        each = self.labels[index]
        label: Label = each if each.ndim else int(each)
        return Example(FileImage(image.path), label, image.file, self.boxes.get(image.path))

    def subset(self, indices: Sequence[int], *notes: str) -> "ImageFiles":
        """The images of these indices, in this order, with additional notes."""
        chosen = [self.images[index] for index in indices]
        return ImageFiles(chosen, self.classes, self.boxes, self.notes + notes)


def _labels(images: Sequence[ListedImage], classes: tuple[str, ...]) -> Labels:
    numbers = {name: number for number, name in enumerate(classes)}
    if not any(isinstance(image.label, tuple) for image in images):
        return torch.tensor([numbers[str(image.label)] for image in images], dtype=torch.int64)
    labels = torch.zeros(len(images), len(classes), dtype=torch.bool)
    for row, image in zip(labels, images, strict=True):
        row[[numbers[name] for name in image.label]] = True
    return labels


def read_whole(
    path: str | Path, *, classes: Sequence[str] | None = None, multilabel: bool = False
) -> ImageFiles:
    """Read all images of a folder or CSV as one data set, whatever splits it has.

    Args:
        path: a folder with one sub-folder per class, optionally under train/ val/ (or valid/,
            validation/) test/; or a CSV `file,label[,split][,group]`. A `boxes.csv` beside it is
            read too.
        classes: the fixed class names of a trained model; None: those found, in natural order.
        multilabel: read labels as sets of classes, even if no label has several; then the CSV may
            have a column of 0 and 1 per class instead of `label`.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    path = Path(path)
    found = listing.read(path, multilabel=multilabel, classes=classes)
    names = {name for image in found.images for name in _names(image)}
    labels = sorted(names, key=natural_key)
    unknown = [repr(label) for label in labels if classes is not None and label not in classes]
    if classes is not None and unknown:
        raise user_error(
            f"{path}: unknown class {shorten(unknown)}; the model knows {', '.join(classes)}"
        )
    if classes is None:
        _check_classes(path, found.images, labels)
    boxes_csv = found.folder / "boxes.csv"
    by_path, notes = boxes.read(boxes_csv, found.images) if boxes_csv.is_file() else ({}, ())
    notes = (*found.notes, *notes, *doubts(labels))
    return ImageFiles(found.images, tuple(classes or labels), by_path, notes)


def _names(image: ListedImage) -> tuple[str, ...]:
    return (image.label,) if isinstance(image.label, str) else image.label


def _check_classes(path: Path, images: Sequence[ListedImage], labels: list[str]) -> None:
    if isinstance(images[0].label, tuple):
        if not labels:
            raise user_error(f"{path}: no image has a class; give labels like cat|dog")
        return
    if len(labels) < 2:
        tables = [table.name for table in sorted(path.glob("*.csv")) if table.name != "boxes.csv"]
        hint = f", or name the CSV {path / tables[0]}" if tables else ""
        raise user_error(f"{path}: only one class, {labels[0]!r}; at least two are needed{hint}")
