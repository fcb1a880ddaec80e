"""Billiards pictures as files, in the layout of the paper's archive.

    {train,valid,test}/{id}.png     the picture
    {train,valid,test}/{id}.json    its balls: [{"position": [x, y, z], "number": n, "color": name}]

What is written here has one more key for each ball, "box": [top, left, bottom, right] in pixels.
"""

import io
import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from PIL import Image as Pillow
from torch import Tensor

from foveal._files import explained
from foveal._files import write as write_file
from foveal._processes import parallel_map
from foveal.data import Example, Splits
from foveal.errors import UserError
from foveal.images import FileImage
from foveal.paper.data.billiards import STREAMS, Billiards
from foveal.paper.data.billiards.picture import picture
from foveal.paper.data.billiards.questions import ask
from foveal.paper.data.billiards.scene import Ball, Scene


class BilliardsArchive:
    """One folder of an archive, a data set.

    Attributes:
        classes: names of the classes.
        labels: class number of each picture.
        records: the balls of each picture.

    Args:
        folder: holds {id}.png and {id}.json.
        question: a key of `foveal.paper.data.billiards.questions.QUESTIONS`.

    Raises:
        UserError: a file is missing or is not what it should be.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        question: str = "max_left_right",
    ) -> None:
        self.question = ask(question)
        self.classes = self.question.classes
        self.folder = Path(folder)
        self.files = _pictures(self.folder)
        self.records = [_read(file.with_suffix(".json")) for file in self.files]
        self.labels: Int[Tensor, " n"] = torch.tensor(
            [self.question.answer(record) for record in self.records], dtype=torch.int64
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        """A picture; with the boxes of the balls that decide, if the archive has them."""
        file = self.files[index]
        boxes = [ball.box for ball in self.question.evidence(self.records[index])]
        return Example(
            FileImage(file),
            int(self.labels[index]),
            f"{self.folder.name}/{file.name}",
            None if None in boxes else torch.tensor(boxes),
        )

    def __repr__(self) -> str:
        """Folder and number of pictures."""
        return f"BilliardsArchive({len(self)} pictures in {self.folder})"


def read_archive(
    directory: str | os.PathLike[str],
    *,
    question: str = "max_left_right",
) -> Splits:
    """Read the three parts of an archive, ours or the published one.

    Args:
        directory: holds train, valid and test.
        question: a key of `foveal.paper.data.billiards.questions.QUESTIONS`.

    Raises:
        UserError: a folder or file is missing or is not what it should be.
    """
    train, validation, test = (
        BilliardsArchive(Path(directory) / name, question=question) for name in STREAMS
    )
    return Splits(train, validation, test)


def write(
    directory: str | os.PathLike[str],
    splits: Iterable[Billiards],
    *,
    workers: int | None = None,
) -> None:
    """Write data sets as an archive, each in the folder of its split.

    Every file is complete or absent. Pictures that exist are kept, so that the same call goes on
    after an interruption.

    Args:
        directory: created if missing.
        splits: data sets of different splits.
        workers: number of processes; None: one per core.

    Raises:
        UserError: the disk is full, or the directory holds other pictures.
    """
    for dataset in splits:
        folder = Path(directory) / dataset.split
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        job = partial(_save, folder, dataset.draw, dataset.size)
        for _ in parallel_map(job, range(len(dataset)), workers):
            pass


def _save(folder: Path, draw: Callable[[int], Scene], size: int, index: int) -> None:
    """Write one picture and its balls, unless they are there."""
    scene = draw(index)
    image, text = folder / f"{index:05d}.png", folder / f"{index:05d}.json"
    balls = [vars(ball) for ball in scene.records(size)]
    content = json.dumps(balls)
    if image.exists() and text.exists():
        with explained(text):
            same = text.read_text(encoding="utf-8") == content
        if not same:
            raise UserError(f"{text} belongs to another picture: write to an empty directory")
        return
    png = io.BytesIO()
    pixels = Pillow.fromarray(picture(scene, size).transpose(1, 2, 0))
    pixels.save(png, format="PNG", compress_level=3)
    write_file(image, png.getvalue(), durable=False)
    write_file(text, content.encode(), durable=False)


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by number; each must have its list of balls."""
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: the archive has folders {', '.join(STREAMS)}")
    names: dict[str, set[str]] = {".png": set(), ".json": set()}
    for file in folder.iterdir():
        if file.suffix in names and not file.name.startswith("."):
            names[file.suffix].add(file.stem)
    for suffix, other in ((".png", ".json"), (".json", ".png")):
        for stem in sorted(names[other] - names[suffix]):
            raise UserError(
                f"{folder / (stem + suffix)} is missing beside {stem}{other}: "
                "complete the pair or delete it"
            )
    if not names[".png"]:
        raise UserError(f"{folder} holds no pictures: unpack or write the archive there")
    return [folder / f"{stem}.png" for stem in sorted(names[".png"], key=lambda s: (len(s), s))]


def _read(file: Path) -> list[Ball]:
    """The balls of a picture."""
    try:
        balls = [_ball(entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
        if not balls:
            raise ValueError("it names no ball")
    except KeyError as error:
        raise UserError(f"{file}: a ball has no {error}: unpack or write it again") from None
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{file}: no list of balls ({error}): unpack or write it again") from None
    return balls


def _ball(entry: dict[str, Any]) -> Ball:
    x, y, z = (float(value) for value in entry["position"])
    number = int(entry["number"])
    if not 1 <= number <= 9:
        raise ValueError(f"number {number} is not in 1..9")
    box = entry.get("box")
    if box is None:
        return Ball((x, y, z), number, str(entry["color"]))
    top, left, bottom, right = (int(value) for value in box)
    return Ball((x, y, z), number, str(entry["color"]), (top, left, bottom, right))
