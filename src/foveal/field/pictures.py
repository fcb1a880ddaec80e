"""Pictures of a task, and the folder that they are written into.

    labels.csv: file,label,split,group     boxes.csv: file,x0,y0,x1,y1     images

Images that are files already stay where they are; the tables name them relative to the folder.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foveal._files import explained, new_folder

Split = Literal["train", "val", "test"]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """One labelled image of a task.

    Attributes:
        file: path of an image that exists; of one to be written, the name in the new folder.
        label: name of its class, or the names of its classes, sorted.
        split: train, val or test.
        group: what it has in common with other images, such as a road; never in two splits.
        boxes: where the evidence is: top, left, bottom, right in pixels, end excluded.
        content: makes the content of the file; None: the file exists.
    """

    file: Path
    label: str | tuple[str, ...]
    split: Split
    group: str
    boxes: tuple[Box, ...] = ()
    content: Callable[[], bytes] | None = None


def write(output: Path, pictures: Iterable[Picture]) -> None:
    """Write the pictures of a task as a data set, all of it or nothing.

    Args:
        output: a new or an empty folder.
        pictures: in the order of the tables.

    Raises:
        UserError: the folder is not empty or cannot be written, or a source cannot be read.
    """
    labels: list[tuple[Any, ...]] = [("file", "label", "split", "group")]
    boxes: list[tuple[Any, ...]] = [("file", "x0", "y0", "x1", "y1")]
    with new_folder(output) as folder:
        for picture in pictures:
            if picture.content is None:
                name = Path(os.path.relpath(picture.file, output)).as_posix()
            else:
                name = picture.file.as_posix()
                _write(output, folder / picture.file, picture.content())
            label = picture.label if isinstance(picture.label, str) else "|".join(picture.label)
            labels.append((name, label, picture.split, picture.group))
            boxes += [
                (name, left, top, right, bottom) for top, left, bottom, right in picture.boxes
            ]
        for table, rows in (("boxes.csv", boxes), ("labels.csv", labels)):
            _write(output, folder / table, _csv(rows))


def _csv(rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _write(output: Path, file: Path, content: bytes) -> None:
    with explained(output):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
