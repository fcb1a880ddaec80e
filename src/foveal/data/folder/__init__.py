"""A user's own images: class folders or a CSV, with or without parts, with or without boxes.

    photos/                      photos/                 labels.csv: file,label,split
      cat/  1.jpg 2.jpg ...        train/ cat/ dog/                  1.jpg,cat,train
      dog/  1.jpg 2.jpg ...        val/   cat/ dog/                  2.jpg,dog,test
      boxes.csv (if any)           test/  cat/ dog/      boxes.csv (if any)

`read_folder` makes the parts and gives every mistake one line; `check` opens every image before a
long training does; `describe` says aloud what was found.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data import Dataset, Example, Splits
from foveal.data.folder import boxes, listing
from foveal.data.folder.listing import Entry, natural
from foveal.data.folder.splitting import stratified
from foveal.data.folder.table import fault, first_three
from foveal.images import FileImage, ImageError

__all__ = ["ImageFiles", "check", "describe", "read_folder", "read_whole"]


class ImageFiles:
    """Labelled image files, read when their pixels are needed and not kept.

    Args:
        entries: the images; every label is one of the classes.
        classes: names of the classes, in the order of their numbers.
        evidence: boxes by path, for the images that have some.
        notes: what should be said about how these were found.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        classes: tuple[str, ...],
        evidence: dict[Path, Int[Tensor, "n 4"]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        self.entries = tuple(entries)
        self.classes = classes
        labels = [numbers[entry.label] for entry in entries]
        self.labels: Int[Tensor, " n"] = torch.tensor(labels, dtype=torch.int64)
        self.notes = notes
        self._evidence = evidence or {}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Example:
        entry = self.entries[index]
        return Example(
            FileImage(entry.path),
            int(self.labels[index]),
            entry.file,
            self._evidence.get(entry.path),
        )

    def part(self, indices: Sequence[int], *notes: str) -> "ImageFiles":
        """The images of these numbers, in this order, with more to be said about them."""
        chosen = [self.entries[index] for index in indices]
        return ImageFiles(chosen, self.classes, self._evidence, self.notes + notes)


def read_whole(path: str | Path, *, classes: Sequence[str] | None = None) -> ImageFiles:
    """Read all images of a folder or CSV as one data set, whatever parts it has.

    Args:
        path: a folder with one sub-folder per class, optionally under train/ val/ (or valid/,
            validation/) test/; or a CSV `file,label[,split]`. A `boxes.csv` beside it is read too.
        classes: the fixed class names of a trained model; None: those found, in natural order.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    path = Path(path)
    found = listing.read(path)
    labels = sorted({entry.label for entry in found.entries}, key=natural)
    unknown = [repr(label) for label in labels if classes is not None and label not in classes]
    if classes is not None and unknown:
        raise fault(
            f"{path}: unknown class {first_three(unknown)}; the model knows {', '.join(classes)}"
        )
    if classes is None and len(labels) < 2:
        tables = [table.name for table in sorted(path.glob("*.csv")) if table.name != "boxes.csv"]
        hint = f", or name the CSV {path / tables[0]}" if tables else ""
        raise fault(f"{path}: only one class, {labels[0]!r}; at least two are needed{hint}")
    drawn = (path if path.is_dir() else path.parent) / "boxes.csv"
    evidence, notes = boxes.read(drawn, found.entries) if drawn.is_file() else ({}, ())
    names = tuple(labels if classes is None else classes)
    return ImageFiles(found.entries, names, evidence, found.notes + notes)


def read_folder(
    path: str | Path,
    *,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    validation: float = 0.15,
    test: float = 0.15,
) -> Splits:
    """Read a folder or CSV in parts to train on, to choose by and to report on.

    Parts that are given stay as they are: a missing validation part is then split off train, and a
    missing test part stays missing. Where none is given, both are split off. What is split off is
    stratified: every class of three or more images is in every part.

    Args:
        path: see `read_whole`.
        seed: of the split; the same images and seed give the same parts.
        classes: see `read_whole`.
        validation: share of the images, in (0, 1).
        test: share of the images, in [0, 1), zero for none; both together below 1.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise fault(
            f"validation={validation} and test={test}: give shares, validation above 0, sum below 1"
        )
    whole = read_whole(path, classes=classes)
    given: dict[str | None, list[int]] = {}
    for index, entry in enumerate(whole.entries):
        given.setdefault(entry.part, []).append(index)
    generator = torch.Generator().manual_seed(seed)
    if None in given:
        parts = stratified(whole.labels, (validation, test), generator)
        note = f"no parts were given: split at random, stratified, seed {seed}"
        return _splits(path, whole, parts, note)
    if "train" not in given:
        raise fault(f"{path}: no train part, only {', '.join(map(str, given))}; add train images")
    train, held, note = given["train"], given.get("validation", []), "parts as given"
    if not held:
        rest, held = stratified(whole.labels[train], (validation,), generator)
        rest, held = [train[i] for i in rest], [train[i] for i in held]
        train, note = rest, f"validation was split off train at random, stratified, seed {seed}"
    return _splits(path, whole, [train, held, given.get("test", [])], note)


def _splits(path: str | Path, whole: ImageFiles, parts: Sequence[list[int]], note: str) -> Splits:
    train, validation, test = parts
    untaught = set(whole.labels.tolist()) - set(whole.labels[train].tolist())
    if untaught:
        names = first_three([repr(whole.classes[label]) for label in sorted(untaught)])
        raise fault(f"{path}: no image of class {names} in train; move some there")
    if not validation:
        raise fault(f"{path}: too few images for a validation part; two of a class are needed")
    return Splits(
        whole.part(train, note),
        whole.part(validation, note),
        whole.part(test, note) if test else None,
    )


def check(dataset: Dataset, *, decode: bool = False) -> None:
    """Open the header of every image, so that no training fails an hour in.

    Args:
        dataset: any; only images in files are opened.
        decode: also decode all pixels, which finds files that were cut short. About as slow as the
            image loading of one epoch.

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
        raise fault(
            f"{len(bad)} of {len(dataset)} images cannot be used: {'; '.join(bad[:3])}{more}"
        )


def describe(splits: Splits) -> str:
    """Say in one line how many images of which classes and sizes there are in which part.

    The sizes are those of up to 200 images a part, taken at even distances: headers are opened.
    """
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    held = {name: part for name, part in parts.items() if part is not None}
    classes = splits.train.classes
    counts = {name: Counter(part.labels.tolist()) for name, part in held.items()}
    total = sum(counts.values(), Counter[int]())
    ordered = sorted(range(len(classes)), key=lambda label: -total[label])
    shown = ordered if len(ordered) <= 10 else [*ordered[:3], *ordered[-3:]]
    per_class = [f"{classes[c]} {'/'.join(str(n[c]) for n in counts.values())}" for c in shown]
    if len(shown) < len(ordered):
        per_class.insert(3, f"... {len(ordered) - 6} more ...")
    sizes = {part[i].image.size for part in held.values() for i in _spread(len(part), 200)}
    smallest, largest = (f(sizes, key=lambda s: s[0] * s[1]) for f in (min, max))
    notes = splits.train.notes if isinstance(splits.train, ImageFiles) else ()
    said = [
        f"{total.total()} images of {len(classes)} classes",
        ", ".join(f"{name} {n.total()}" for name, n in counts.items())
        + ("" if "test" in held else ", no test part"),
        f"{'/'.join(held)} per class: {', '.join(per_class)}",
        f"{total[ordered[0]] / total.total():.1%} are {classes[ordered[0]]}",
        f"height x width {smallest[0]} x {smallest[1]}"
        + ("" if smallest == largest else f" to {largest[0]} x {largest[1]}"),
        *notes,
    ]
    return "; ".join(said)


def _spread(length: int, most: int) -> list[int]:
    count = min(length, most)
    return [index * length // count for index in range(count)]
