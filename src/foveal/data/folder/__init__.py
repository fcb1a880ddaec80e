"""Your own images: class folders or a CSV, with or without splits, with or without boxes.

    photos/                      photos/                 labels.csv: file,label,split
      cat/  1.jpg 2.jpg ...        train/ cat/ dog/                  1.jpg,cat,train
      dog/  1.jpg 2.jpg ...        val/   cat/ dog/                  2.jpg,dog,test
      boxes.csv (optional)         test/  cat/ dog/      boxes.csv (optional)

`read_folder` reads the splits, or makes them; `check` opens every image before a long training
starts; `describe` sums up what was read. Every mistake in the data is reported in one line.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data.dataset import Dataset, Example, Splits
from foveal.data.folder import boxes, listing
from foveal.data.folder.listing import ListedImage, natural_key
from foveal.data.folder.splitting import stratified
from foveal.data.folder.table import shorten, user_error
from foveal.images import FileImage, ImageError

__all__ = ["ImageFiles", "check", "describe", "read_folder", "read_whole"]


class ImageFiles:
    """Labelled image files. Pixels are read when they are needed and not kept.

    Args:
        images: the files; every label is one of the classes.
        classes: names of the classes, in the order of their numbers.
        boxes: boxes by path, for the images that have some.
        notes: remarks on how the files were found or split.
    """

    def __init__(
        self,
        images: Sequence[ListedImage],
        classes: tuple[str, ...],
        boxes: dict[Path, Int[Tensor, "n 4"]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        self.images = tuple(images)
        self.classes = classes
        labels = [numbers[image.label] for image in images]
        self.labels: Int[Tensor, " n"] = torch.tensor(labels, dtype=torch.int64)
        self.notes = notes
        self._boxes = boxes or {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        image = self.images[index]
        label = int(self.labels[index])
        return Example(FileImage(image.path), label, image.file, self._boxes.get(image.path))

    def subset(self, indices: Sequence[int], *notes: str) -> "ImageFiles":
        """The images of these indices, in this order, with additional notes."""
        chosen = [self.images[index] for index in indices]
        return ImageFiles(chosen, self.classes, self._boxes, self.notes + notes)


def read_whole(path: str | Path, *, classes: Sequence[str] | None = None) -> ImageFiles:
    """Read all images of a folder or CSV as one data set, whatever splits it has.

    Args:
        path: a folder with one sub-folder per class, optionally under train/ val/ (or valid/,
            validation/) test/; or a CSV `file,label[,split]`. A `boxes.csv` beside it is read too.
        classes: the fixed class names of a trained model; None: those found, in natural order.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    path = Path(path)
    found = listing.read(path)
    labels = sorted({image.label for image in found.images}, key=natural_key)
    unknown = [repr(label) for label in labels if classes is not None and label not in classes]
    if classes is not None and unknown:
        raise user_error(
            f"{path}: unknown class {shorten(unknown)}; the model knows {', '.join(classes)}"
        )
    if classes is None and len(labels) < 2:
        tables = [table.name for table in sorted(path.glob("*.csv")) if table.name != "boxes.csv"]
        hint = f", or name the CSV {path / tables[0]}" if tables else ""
        raise user_error(f"{path}: only one class, {labels[0]!r}; at least two are needed{hint}")
    boxes_csv = (path if path.is_dir() else path.parent) / "boxes.csv"
    by_path, notes = boxes.read(boxes_csv, found.images) if boxes_csv.is_file() else ({}, ())
    names = tuple(labels if classes is None else classes)
    return ImageFiles(found.images, names, by_path, found.notes + notes)


def read_folder(
    path: str | Path,
    *,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    validation: float = 0.15,
    test: float = 0.15,
) -> Splits:
    """Read a folder or CSV as splits for training, validation and test.

    Given splits stay as they are: a missing validation split is taken out of train, and a missing
    test split stays missing. Without any, validation and test are taken out of all images. The
    random splits are stratified: every class of three or more images is in all of them.

    Args:
        path: see `read_whole`.
        seed: seed of the random split; the same images and seed give the same splits.
        classes: see `read_whole`.
        validation: share of the images for validation, in (0, 1).
        test: share of the images for test, in [0, 1), 0 for none; the sum of both is below 1.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise user_error(
            f"validation={validation} and test={test}: give fractions, validation above 0 and "
            "their sum below 1"
        )
    whole = read_whole(path, classes=classes)
    given: dict[str | None, list[int]] = {}
    for index, image in enumerate(whole.images):
        given.setdefault(image.split, []).append(index)
    generator = torch.Generator().manual_seed(seed)
    if None in given:
        indices = stratified(whole.labels, (validation, test), generator)
        note = f"no splits were given: random stratified split, seed {seed}"
        return _splits(path, whole, indices, note)
    if "train" not in given:
        raise user_error(f"{path}: no train split, only {', '.join(map(str, given))}; add one")
    train, held_out, note = given["train"], given.get("validation", []), "splits as given"
    if not held_out:
        rest, held_out = stratified(whole.labels[train], (validation,), generator)
        rest, held_out = [train[i] for i in rest], [train[i] for i in held_out]
        train, note = rest, f"validation: random stratified split of train, seed {seed}"
    return _splits(path, whole, [train, held_out, given.get("test", [])], note)


def _splits(path: str | Path, whole: ImageFiles, indices: Sequence[list[int]], note: str) -> Splits:
    train, validation, test = indices
    untrained = set(whole.labels.tolist()) - set(whole.labels[train].tolist())
    if untrained:
        names = shorten([repr(whole.classes[label]) for label in sorted(untrained)])
        raise user_error(f"{path}: no image of class {names} in train; move some there")
    if not validation:
        raise user_error(f"{path}: too few images for validation; two of a class are needed")
    return Splits(
        whole.subset(train, note),
        whole.subset(validation, note),
        whole.subset(test, note) if test else None,
    )


def check(dataset: Dataset, *, decode: bool = False) -> None:
    """Open the header of every image file, so that training does not fail after an hour.

    Args:
        dataset: images in memory are not checked.
        decode: also decode all pixels, which finds truncated files. Takes about as long as loading
            the images of one epoch.

    Raises:
        UserError: how many files are bad, the first three, and why.
    """
    bad = []
    for index in range(len(dataset)):
        try:
            image = dataset[index].image
            if isinstance(image, FileImage):
                _ = image.decode() if decode else image.size
        except ImageError as error:
            bad.append(str(error))
    if bad:
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise user_error(
            f"{len(bad)} of {len(dataset)} images cannot be used: {'; '.join(bad[:3])}{more}"
        )


def describe(splits: Splits) -> str:
    """Sum up in one line: number of images by split and class, their sizes, and notes.

    The sizes are those of up to 200 evenly spaced images per split; only headers are read.
    """
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    given = {name: dataset for name, dataset in named.items() if dataset is not None}
    classes = splits.train.classes
    counts = {name: Counter(dataset.labels.tolist()) for name, dataset in given.items()}
    total = sum(counts.values(), Counter[int]())
    ordered = sorted(range(len(classes)), key=lambda label: -total[label])
    shown = ordered if len(ordered) <= 10 else [*ordered[:3], *ordered[-3:]]
    per_class = [f"{classes[c]} {'/'.join(str(n[c]) for n in counts.values())}" for c in shown]
    if len(shown) < len(ordered):
        per_class.insert(3, f"... {len(ordered) - 6} more ...")
    sizes = {d[i].image.size for d in given.values() for i in _evenly(len(d), 200)}
    smallest, largest = (f(sizes, key=lambda s: s[0] * s[1]) for f in (min, max))
    notes = splits.train.notes if isinstance(splits.train, ImageFiles) else ()
    facts = [
        f"{total.total()} images of {len(classes)} classes",
        ", ".join(f"{name} {n.total()}" for name, n in counts.items())
        + ("" if "test" in given else ", no test split"),
        f"per class ({'/'.join(given)}): {', '.join(per_class)}",
        f"most frequent class {classes[ordered[0]]} ({total[ordered[0]] / total.total():.1%})",
        f"height x width {smallest[0]} x {smallest[1]}"
        + ("" if smallest == largest else f" to {largest[0]} x {largest[1]}")
        + " px",
        *notes,
    ]
    return "; ".join(facts)


def _evenly(length: int, most: int) -> list[int]:
    """At most `most` evenly spaced indices."""
    count = min(length, most)
    return [index * length // count for index in range(count)]
