"""The needle: is a single defect found in images of a hundred megapixels, by their labels alone?

Importing this does not import torch.
"""

import csv
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.paper.benchmark import clock
from foveal.settings import Glances, Size

_PARTS = ("train", "train", "val", "test")  # in turn, of each class


@dataclass(frozen=True)
class Needle:
    """What was asked, where it was measured, and what came out; prints as Markdown.

    Attributes:
        settings: what was asked.
        machine: where.
        test_images: number of images that the figures are of.
        accuracy: share of them whose label is correct.
        hit_rate: share of those with a defect in which a window covers half of it or more.
        chance_hit_rate: of as many windows at random places.
        train_seconds: of the whole training, data checks and validations included.
        test_seconds: of an image, predicted.
        resident_bytes: largest resident memory of the process, with Python, torch and the model.
        view: height and width of the view, which the images are scored in.
        patch: side of a patch in pixels.
        k: number of patches.
    """

    settings: dict[str, Any]
    machine: str
    test_images: int
    accuracy: float
    hit_rate: float
    chance_hit_rate: float
    train_seconds: float
    test_seconds: float
    resident_bytes: int
    view: Size
    patch: int
    k: int

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "needle"} | asdict(self)

    def __str__(self) -> str:
        """A Markdown table of one line."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return "\n".join(
            [
                f"one defect in an image: {asked}",
                f"view {self.view[0]} x {self.view[1]}, {self.k} patches of {self.patch} px",
                "",
                "| test images | accuracy | hit rate | by chance | training, min | predict, s |"
                " resident, MB |",
                "|---:|---:|---:|---:|---:|---:|---:|",
                f"| {self.test_images} | {self.accuracy:.1%} | {self.hit_rate:.1%} | "
                f"{self.chance_hit_rate:.1%} | {self.train_seconds / 60:.1f} | "
                f"{self.test_seconds:.2f} | {self.resident_bytes / 1e6:.0f} |",
                "",
                self.machine,
            ]
        )


def needle(
    *,
    megapixels: int = 100,
    images: int = 120,
    spot: int = 48,
    view: Size | None = None,
    patch: int | None = None,
    glances: Glances = 1,
    encoder: str = "resnet18",
    weights: Path | None = None,
    minutes: float = 60.0,
    memory: str = "2GB",
    threads: int = 2,
    folder: Path | None = None,
) -> Needle:
    """Train on huge images, half of them with one small defect, and see whether it is found.

    The images are square tiled TIFFs with pyramids, each of a painted texture of its own; a spot
    lies at a random place of every other one. Half of them train, a quarter validates and a quarter
    tests. The training is that of `foveal train`, in a fresh process.

    Args:
        megapixels: size of an image.
        images: number of images.
        spot: side of the defect in pixels.
        view: height and width of the view; inferred if not given.
        patch: side of a patch in pixels; inferred if not given.
        glances: 2: the best regions of the view are scored again at a higher resolution.
        encoder: timm network of scorer and encoder, or "thin" without pretrained weights.
        weights: file of its pretrained weights, instead of a download.
        minutes: time that training may take.
        memory: that training may keep tiles in, such as 2GB.
        threads: number of processor threads.
        folder: where images and run are written, and kept (default: a temporary one).

    Raises:
        UserError: an option is out of range, or the training cannot be made.
    """
    side = math.isqrt(megapixels * 10**6)
    if images < 2 * len(_PARTS) or not 1 <= spot <= side or min(megapixels, threads) < 1:
        raise UserError(
            f"needle needs {2 * len(_PARTS)} images, 1 megapixel, 1 thread and a spot of 1 px or "
            f"more, smaller than an image: got {images}, {megapixels}, {threads} and {spot}"
        )
    from foveal._processes import in_fresh_process

    settings: dict[str, Any] = {
        "megapixels": megapixels,
        "images": images,
        "spot": spot,
        "glances": glances,
    }
    settings |= {"encoder": encoder, "minutes": minutes, "memory": memory}
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        order: dict[str, Any] = {
            "labels": write_images(place, side, images, spot),
            "output": place / "run",
        }
        options = {
            "view": view,
            "patch": patch,
            "glances": glances,
            "encoder": encoder,
            "weights": weights,
            "minutes": minutes,
        }
        order |= {"options": options | {"memory": memory}, "threads": threads}
        found = in_fresh_process(_measure, order)
    return Needle(settings=settings, machine=clock.machine(threads, "cpu"), **found)


def write_images(folder: Path, side: int, count: int, spot: int) -> Path:
    """Write images of the classes clean and spot, in turn, with labels.csv and boxes.csv.

    Returns:
        The file of the labels.
    """
    import numpy as np

    from foveal.field import gigapixel

    (folder / "images").mkdir(parents=True, exist_ok=True)
    labels: list[tuple[str, ...]] = [("file", "label", "split")]
    boxes: list[tuple[str, ...]] = [("file", "x0", "y0", "x1", "y1")]
    for number in range(count):
        name, label = f"images/{number}.tif", ("clean", "spot")[number % 2]
        rng, paste = np.random.default_rng(number), None
        top, left = (int(place) for place in rng.integers(side - spot + 1, size=2))
        if label == "spot":
            paste = gigapixel.Paste(gigapixel.spot(spot), top, left)
            corners = map(str, (left, top, left + spot, top + spot))
            boxes.append((name, *corners))
        texture = gigapixel.painted_texture(seed=number)
        gigapixel.write_pyramid(folder / name, texture, (side, side), paste=paste, sparse=True)
        labels.append((name, label, _PARTS[number // 2 % len(_PARTS)]))
    for table, rows in (("labels.csv", labels), ("boxes.csv", boxes)):
        with (folder / table).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
    return folder / "labels.csv"


def _measure(
    *, labels: Path, output: Path, options: dict[str, Any], threads: int
) -> dict[str, Any]:
    import torch

    from foveal.models import PatchClassifier
    from foveal.paper.benchmark.peak import high_water
    from foveal.planning.train import train

    torch.set_num_threads(threads)
    begin = time.perf_counter()
    run = train(labels, output=output, **options)
    trained = time.perf_counter()
    report = run.evaluate()
    tested = time.perf_counter()
    assert isinstance(run.model, PatchClassifier)
    return {
        "test_images": report.n,
        "accuracy": report.accuracy,
        "hit_rate": report.hit_rate,
        "chance_hit_rate": report.chance_hit_rate,
        "train_seconds": trained - begin,
        "test_seconds": (tested - trained) / report.n,
        "resident_bytes": high_water(),
        "view": run.model.view,
        "patch": run.model.patch[0],
        "k": run.model.select.k,
    }
