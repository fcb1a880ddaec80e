"""Small sources of the field tasks, in the layout of the real ones."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import miniatures

GROUPS = {"group00041": 4, "group13000": 3, "group20085": 6, "group44000": 2, "group77000": 2}


def gtsdb(root: Path, scenes: int = 600) -> Path:
    """Grey scenes of 48 x 32 px; every third has a sign, whose class is the number of the scene."""
    limits = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
    images, boxes, labels = root / "images", [], []
    images.mkdir(parents=True)
    for scene in range(scenes):
        file, kind = f"{scene:05d}.jpg", scene // 3 % 43
        Image.new("RGB", (48, 32), (scene % 200, 90, 90)).save(images / file)
        if scene % 3 == 0:
            boxes.append((file, 5, 6, 15, 16, kind))
        labels.append((file, limits.get(kind, 0) if scene % 3 == 0 else 0))
    _table(root / "boxes.csv", ("file", "x0", "y0", "x1", "y1", "class_id"), boxes)
    _table(root / "labels.csv", ("file", "speed_limit"), labels)
    return root


def deeppcb(root: Path, *, apart: bool = False) -> Path:
    """Boards with one line of copper; defective images have four defects, two of them in touch.

    Args:
        root: where.
        apart: whether the lists of defects lie in folders of their own, as published.
    """
    number = 0
    for group, count in GROUPS.items():
        for _ in range(count):
            name = f"{group[5:]}{number:03d}"
            folder, lists = (
                (root / group / group[5:], root / group / f"{group[5:]}_not")
                if apart
                else (root / group, root / group)
            )
            folder.mkdir(parents=True, exist_ok=True)
            lists.mkdir(parents=True, exist_ok=True)
            clean = np.zeros((640, 640), np.uint8)
            clean[10 * number + 3 :, 600:610] = 255
            defective = clean.copy()
            defects = []
            for kind, (top, left) in enumerate([(0, 20), (100, 30), (105, 50), (300, 400)], 1):
                kind = (kind + number) % 6 + 1
                defective[top : top + 20, left : left + 25] = 255
                defects.append(f"{left} {top} {left + 25} {top + 20} {kind}")
            Image.fromarray(clean).save(folder / f"{name}_temp.png")
            Image.fromarray(defective).save(folder / f"{name}_test.png")
            (lists / f"{name}.txt").write_text("\n".join(defects) + "\n")
            number += 1
    return root


def bsdata(root: Path) -> Path:
    """Photographs of seven spots; the last ones of each are pitted, and an outline leaves one."""
    rows, outlines = [], {}
    (root / "images").mkdir(parents=True)
    for spot in range(7):
        for time in range(3 + spot):
            stem, pitted = f"{time}_{spot}", time > 1
            Image.new("RGB", (40, 30), (50, 20 * spot, 10 * time)).save(
                root / "images" / f"{stem}.jpg"
            )
            rows.append((f"{stem}.jpg", spot, time, int(pitted), 40, 30))
            if pitted:
                points = [[-0.5, 3.2], [8.5, 3.7], [4.0, 9.1]]
                outlines[stem] = [{"label": "Pitting", "points": points}]
    columns = ("file", "spot", "timestamp", "pitting", "width", "height")
    _table(root / "index.csv", columns, rows)
    (root / "polygons.json").write_text(json.dumps(outlines))
    return root


def coloured(root: Path, *, multilabel: bool = False) -> Path:
    """Dark images of 96 x 128 px with a red or a blue square in a box, or with both.

    Returns:
        The CSV.
    """
    random, boxes, labels = np.random.default_rng(0), [], []
    root.mkdir(parents=True)
    for number in range(24):
        pixels = random.integers(0, 40, (96, 128, 3), dtype=np.uint8)
        names = [("red",), ("blue",), ("blue", "red")][number % (3 if multilabel else 2)]
        for place, name in enumerate(names):
            top, left = 40 * place + number, 5 * number % 100
            pixels[top : top + 16, left : left + 16, 0 if name == "red" else 2] = 255
            boxes.append((f"{number}.png", left, top, left + 16, top + 16))
        Image.fromarray(pixels).save(root / f"{number}.png")
        split = "train" if number < 12 else "val" if number < 18 else "test"
        labels.append((f"{number}.png", "|".join(names), split, number))
    _table(root / "boxes.csv", ("file", "x0", "y0", "x1", "y1"), boxes)
    _table(root / "labels.csv", ("file", "label", "split", "group"), labels)
    return root / "labels.csv"


def sources(root: Path) -> dict[str, Path]:
    """A source of every task that has one, by the name of the task."""
    signs, digits = gtsdb(root / "gtsdb"), miniatures.mnist(root / "mnist")
    return {
        "street-prohibitory": signs,
        "street-limit": signs,
        "boards": deeppcb(root / "deeppcb"),
        "screws": bsdata(root / "bsdata"),
        "digits": digits,
        "digits-multi": digits,
    }


def _table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows((columns, *rows))
