"""The cost of predicting one large file, or of training on it, in a process of its own."""

import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foveal._memory import parse_bytes
from foveal.data.augmentation import augmentations
from foveal.data.cache import Cache
from foveal.data.folder import ImageFiles
from foveal.data.folder.listed import ListedImage
from foveal.data.loader import Batch, batches
from foveal.errors import UserError
from foveal.evaluation import predict
from foveal.field.benchmark.large import Cost, Work
from foveal.images import FileImage
from foveal.models import patch_classifier
from foveal.objectives import classification
from foveal.paper.benchmark.peak import high_water
from foveal.runs import load
from foveal.runs.inputs import list_images
from foveal.settings import Augmentation

_COUNTERS = Path("/proc/self/io")


def measure(
    *, work: Work, file: Path, repeats: int, memory: str, threads: int, **model: Any
) -> Cost:
    """Work on a file in this process.

    Args:
        work: what to do.
        file: a tiled TIFF.
        repeats: number of timed repetitions, after one on an empty picture or one not timed.
        memory: for tiles, in training.
        threads: number of processor threads.
        model: `run`, or `view`, `patch`, `k` and `glances` of a new model.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network, classes = _model(**model)
    if work == "predict":
        once = partial(_predict, network, classes, file)
        _predict(network, classes, torch.zeros(3, 1024, 1024, dtype=torch.uint8))
    else:
        once = partial(_step, network, _batches(file, repeats + 1, parse_bytes(memory)))
        once()
    image = FileImage(file)
    is_whole = not (image.is_large and image.in_parts)  # what libtiff maps is not counted
    seconds, read = [], list[int]()
    for _ in range(repeats):
        before, begin = _bytes_read(), time.perf_counter()
        once()
        seconds.append(time.perf_counter() - begin)
        read += [] if before is None else [int(_bytes_read() or 0) - before]
    size = file.stat().st_size
    return Cost(
        work,
        image.size[0] * image.size[1] / 1e6,
        size,
        statistics.median(seconds),
        high_water(),
        size if is_whole and work == "predict" else min(read, default=None),
    )


def _model(**model: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """A model, and the names of its classes."""
    if "run" in model:
        run = load(model["run"])
        return run.model, run.classes
    return patch_classifier("resnet18", classes=2, **model), ("clean", "spot")


def _predict(network: nn.Module, classes: tuple[str, ...], source: Any) -> None:
    """As `Run.predict` does it."""
    (result,) = predict(network, list_images(source), classes, 1)
    if result.error is not None:
        raise UserError(result.error)


def _batches(file: Path, steps: int, memory: int) -> Iterator[Batch]:
    listed = ListedImage(file, file.name, "0", None, None)
    augment = augmentations(Augmentation(shift_fraction=1 / 30, colour=True))
    images = ImageFiles([listed], ("0", "1"))
    return batches(images, size=1, seed=0, steps=steps, augment=augment, cache=Cache(tiles=memory))


def _step(network: nn.Module, stream: Iterator[Batch]) -> None:
    """Forward and backward of one image, as `foveal.training` does it."""
    batch = next(stream)
    network.train()
    loss = classification(network(batch.images), batch.labels, entropy=0.0, class_weights=None)
    loss.backward()  # type: ignore[no-untyped-call]


def _bytes_read() -> int | None:
    """Bytes that this process has read so far, of all files."""
    try:
        lines = _COUNTERS.read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))
