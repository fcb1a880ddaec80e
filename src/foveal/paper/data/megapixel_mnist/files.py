"""Megapixel MNIST as ordinary files: a folder per part and class, and the digits' boxes.

    {train,val,test}/{class}/{id}.png     boxes.csv: file,x0,y0,x1,y1

This is the layout of `foveal.data.folder`, which reads it back. Where a picture bears a set of
classes, its folder is named after all of them, as in `0 + 3 + 7`, and is one class when read back.
"""

import csv
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from PIL import Image as Pillow

from foveal.paper.data.megapixel_mnist import MegapixelMNIST
from foveal.paper.data.writing import refused, replace


def write(directory: str | os.PathLike[str], splits: Iterable[MegapixelMNIST]) -> None:
    """Write data sets into one directory, grey PNGs.

    Raises:
        UserError: the disk is full, or the directory cannot be written to.
    """
    rows = []
    for dataset in splits:
        for index in range(len(dataset)):
            name = dataset[index].file
            pixels = Pillow.fromarray(dataset.picture(index)[0].numpy())
            _written(Path(directory) / name, partial(pixels.save, format="PNG", compress_level=3))
            for top, left, bottom, right in (digit.box for digit in dataset.digits(index)):
                rows.append((name, left, top, right, bottom))
    _written(Path(directory) / "boxes.csv", partial(_table, rows))


def _written(file: Path, write: Callable[[Path], object]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, write)
    except OSError as error:
        raise refused(file, error) from None


def _table(rows: list[tuple[str, int, int, int, int]], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "x0", "y0", "x1", "y1"))
        writer.writerows(rows)
