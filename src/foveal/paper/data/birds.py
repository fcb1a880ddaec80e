"""Birds: Caltech-UCSD Birds-200-2011, 11 788 photographs of 200 species, in its own layout.

    CUB_200_2011/
      images.txt              number file                    1 001.Black_footed_Albatross/x.jpg
      image_class_labels.txt  number class                   1 1
      train_test_split.txt    number, 1 for training or 0    1 0
      bounding_boxes.txt      number x y width height        1 60.0 27.0 325.0 304.0
      classes.txt             class name                     1 001.Black_footed_Albatross
      images/

Boxes are never used in training, only to report how often a chosen window hits a bird.

References:
    Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, California Institute of Technology,
    CNS-TR-2011-001.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data import Example, Splits
from foveal.errors import UserError
from foveal.images import FileImage

TRAIN, TEST, CLASSES = 5994, 5794, 200
HELD_BACK = 994  # of the training images, to choose by: the paper's 5000 are left
SOURCE = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"

_TABLES = {
    "images.txt": "number file",
    "image_class_labels.txt": "number class",
    "train_test_split.txt": "number 0-or-1",
    "bounding_boxes.txt": "number x y width height",
    "classes.txt": "class name",
}


@dataclass(frozen=True)
class Photograph:
    """One line of every table.

    Attributes:
        file: its path below images/.
        label: class number, from 0.
        train: whether it is a training image.
        box: of the bird, top left bottom right in pixels, rounded outwards.
    """

    file: str
    label: int
    train: bool
    box: tuple[int, int, int, int]


class Birds:
    """Photographs, read when their pixels are needed and not kept; a data set.

    Args:
        root: the folder that holds images/.
        photographs: what the tables say of each.
        classes: names, in the order of their numbers.
        notes: what should be said about how these were found.
    """

    def __init__(
        self,
        root: Path,
        photographs: Sequence[Photograph],
        classes: tuple[str, ...],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.root, self.photographs, self.classes = root, tuple(photographs), classes
        self.labels: Int[Tensor, " n"] = torch.tensor(
            [each.label for each in photographs], dtype=torch.int64
        )
        self.notes = notes

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> Example:
        each = self.photographs[index]
        image = FileImage(self.root / "images" / each.file)
        return Example(image, each.label, each.file, torch.tensor([each.box]))

    def part(self, numbers: Sequence[int]) -> "Birds":
        """The photographs of these numbers, in this order."""
        chosen = [self.photographs[number] for number in numbers]
        return Birds(self.root, chosen, self.classes, self.notes)


def read_birds(path: str | Path, *, seed: int = 0, full: bool = False) -> Splits:
    """Read the photographs, split as published; some of the training images are held back.

    994 of 5994 are held back (of another number, in proportion), the same share of every class. The
    paper's 994 are the last ones in TensorFlow Datasets' order: others than these.

    Args:
        path: the folder CUB_200_2011, or the one it lies in.
        seed: of what is held back.
        full: train on all training images, for a result on the test images. Those that would be
            held back still make the validation, which then only tells how learning goes.

    Returns:
        Data sets of type `Birds`; their notes say what is missing from the published set.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    whole = read_whole(path)
    train = [n for n, each in enumerate(whole.photographs) if each.train]
    test = [n for n, each in enumerate(whole.photographs) if not each.train]
    count = round(len(train) * HELD_BACK / TRAIN)
    if count == 0 or not test:
        raise UserError(
            f"{path}: {len(train)} training and {len(test)} test images are too few; {_remedy()}"
        )
    held = {train[place] for place in _held_back(whole.labels[train], count, seed)}
    learned = train if full else [n for n in train if n not in held]
    return Splits(whole.part(learned), whole.part(sorted(held)), whole.part(test))


def read_whole(path: str | Path) -> Birds:
    """Read all photographs, training and test images together.

    Raises:
        UserError: see `read_birds`.
    """
    root = _root(Path(path))
    tables = {name: _table(root / name, columns) for name, columns in _TABLES.items()}
    files, names = tables["images.txt"], tables["classes.txt"]
    classes = {key: number for number, key in enumerate(names)}
    for name in ("image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"):
        missing = [number for number in files if number not in tables[name]]
        if missing:
            raise UserError(
                f"{root / name}: no line for {len(missing)} of {len(files)} images, "
                f"{missing[0]} for instance; {_remedy()}"
            )
    photographs = [
        Photograph(
            file,
            _label(root, number, tables["image_class_labels.txt"][number], classes),
            _is_train(root, number, tables["train_test_split.txt"][number]),
            _box(root, number, tables["bounding_boxes.txt"][number]),
        )
        for number, file in files.items()
    ]
    lost = [file for file in files.values() if not (root / "images" / file).is_file()]
    if lost:
        raise UserError(
            f"{root / 'images'}: {len(lost)} of {len(files)} files are missing, {lost[0]} for "
            f"instance; {_remedy()}"
        )
    return Birds(root, photographs, tuple(names.values()), _incomplete(photographs, len(names)))


def _remedy() -> str:
    return f"unpack CUB_200_2011.tgz again, from {SOURCE}"


def _root(path: Path) -> Path:
    for root in (path, path / "CUB_200_2011"):
        if (root / "images.txt").is_file():
            return root
    if path.is_file():
        raise UserError(f"{path}: a file; unpack it, and name the folder CUB_200_2011 it holds")
    why = "no images.txt in it" if path.is_dir() else "no such folder"
    raise UserError(
        f"{path}: {why}; name the folder CUB_200_2011, unpacked from CUB_200_2011.tgz, from "
        f"{SOURCE}"
    )


def _table(path: Path, columns: str) -> dict[str, str]:
    """What follows the number on every line, by number."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {_remedy()}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_remedy()}") from None
    for line, text in enumerate(lines, 1):
        number, _, rest = text.strip().partition(" ")
        if len(rest.split(" ")) != columns.count(" ") or not number.isdecimal() or not rest:
            raise UserError(f"{path} line {line}: {text!r} is not '{columns}'; {_remedy()}")
        if number in found:
            raise UserError(f"{path} line {line}: {number} stands there twice; {_remedy()}")
        found[number] = rest
    return found


def _label(root: Path, number: str, key: str, classes: dict[str, int]) -> int:
    if key not in classes:
        place = f"{root / 'image_class_labels.txt'}: image {number}"
        raise UserError(f"{place} is of class {key}, not in classes.txt; {_remedy()}")
    return classes[key]


def _is_train(root: Path, number: str, text: str) -> bool:
    if text not in ("0", "1"):
        place = root / "train_test_split.txt"
        raise UserError(f"{place}: image {number} has {text!r} where 0 or 1 must be; {_remedy()}")
    return text == "1"


def _box(root: Path, number: str, text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = map(float, text.split(" "))
        box = (math.floor(y), math.floor(x), math.ceil(y + height), math.ceil(x + width))
    except (ValueError, OverflowError):
        box = (0, 0, 0, 0)
    if box[2] <= box[0] or box[3] <= box[1]:
        place = root / "bounding_boxes.txt"
        raise UserError(f"{place}: image {number} has the box {text!r}; {_remedy()}")
    return box


def _incomplete(photographs: Sequence[Photograph], classes: int) -> tuple[str, ...]:
    """A warning where this is not the published set."""
    train = sum(each.train for each in photographs)
    counts = (train, len(photographs) - train, classes)
    if counts == (TRAIN, TEST, CLASSES):
        return ()
    return (
        f"warning: {counts[0]} training images, {counts[1]} test images and {counts[2]} classes, "
        f"where the published set has {TRAIN}, {TEST} and {CLASSES}: results cannot be compared",
    )


def _held_back(labels: Int[Tensor, " n"], count: int, seed: int) -> list[int]:
    """So many places, the same share of every class but for one image, at random."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.empty(len(labels), dtype=torch.float64)
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        begin = torch.rand((), generator=generator, dtype=torch.float64)
        keys[members] = (order + begin) / len(members)
    return sorted(keys.argsort()[:count].tolist())
