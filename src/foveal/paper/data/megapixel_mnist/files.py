"""Megapixel MNIST as ordinary files: a folder per part and class, and the digits' boxes.

    {train,val,test}/{class}/{id}.png     boxes.csv: file,x0,y0,x1,y1

This is the layout of `foveal.data.folder`, which reads it back. The folder of a picture with a set
of classes is named after all of them, as in `0 + 3 + 7`, and is one class when read back.
"""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from foveal._csv import csv_text
from foveal._files import explained
from foveal._files import write as write_file
from foveal.paper.data.megapixel_mnist import MegapixelMNIST


def write(directory: str | os.PathLike[str], splits: Iterable[MegapixelMNIST]) -> None:
    """Write data sets into one directory, grey PNGs.

    Raises:
        UserError: the disk is full, or the directory cannot be written to.
    """
    boxes: list[tuple[Any, ...]] = [("file", "x0", "y0", "x1", "y1")]
    for dataset in splits:
        for index in range(len(dataset)):
            name = dataset[index].file
            png = io.BytesIO()
            pixels = Pillow.fromarray(dataset.picture(index)[0].numpy())
            pixels.save(png, format="PNG", compress_level=3)
            _write(Path(directory) / name, png.getvalue())
            for top, left, bottom, right in (digit.box for digit in dataset.digits(index)):
                boxes.append((name, left, top, right, bottom))
    _write(Path(directory) / "boxes.csv", csv_text(boxes).encode())


def _write(file: Path, content: bytes) -> None:
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, content, durable=False)
