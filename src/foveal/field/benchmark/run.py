"""Run one cell of the benchmark: train a method on a data set, and judge it on the test images."""

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import foveal
from foveal.data import Splits
from foveal.data.dataset import sizes
from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.experiment import seeded
from foveal.field.benchmark.budget import fine_tuning, train_for
from foveal.field.benchmark.common import Common
from foveal.field.benchmark.models import CellNumbers, DenseEvidence
from foveal.field.benchmark.results import Cell
from foveal.models import IterativePatchSelection, PatchClassifier, WholeImage
from foveal.nn import aggregators, selectors
from foveal.nn.cross_attention import CrossAttention
from foveal.nn.encoders import Backbone
from foveal.paper.benchmark import clock
from foveal.planning import sizing
from foveal.runs import load
from foveal.runs.folder import Row
from foveal.settings import Beginning, Hardware, Model
from foveal.training import Stopped
from foveal.training.devices import configure_fabric

OVERLAP = 0.25  # of neighbouring patches of iterative patch selection, at least


def run_cell(cell: Cell, labels: Path, common: Common) -> dict[str, Any]:
    """Train and judge one method.

    Args:
        cell: what to run.
        labels: CSV of the data set.
        common: what all methods share.

    Returns:
        A row for `Results`.

    Raises:
        UserError: the data or an option are not usable, or training diverged.
        KeyboardInterrupt: it was stopped.
    """
    hardware = Hardware(accelerator=common.accelerator)
    with clock.threads(common.threads):
        splits = read_folder(labels)
        if splits.test is None:
            raise UserError(f"{labels}: there are no test images")
        begin = time.perf_counter()
        try:
            with seeded(cell.seed):
                model, rows = _train(cell, labels, splits, common, hardware)
        except Stopped as stop:
            raise stop.kind(f"{cell}: {stop}") from None
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{labels}: {error}") from error
        minutes = (time.perf_counter() - begin) / 60
        begin = time.perf_counter()
        report = evaluate(model, splits.test, common.batch)
        seconds = time.perf_counter() - begin
    device = next(model.parameters()).device.type
    looks = not cell.method.startswith("whole")  # the whole image covers every box
    return {
        **cell._asdict(),
        "accuracy": report.accuracy,
        "balanced_accuracy": report.balanced_accuracy,
        "auroc": report.auroc,
        "hit_rate": report.hit_rate if looks else None,
        "chance_hit_rate": report.chance_hit_rate if looks else None,
        "majority": report.majority,
        "n": report.n,
        "steps": rows[-1]["step"],
        "minutes": round(minutes, 3),
        "images_per_second": round(report.n / seconds, 3),
        "hardware": clock.machine(common.threads, device),
        "foveal": foveal.__version__,
    }


def _train(
    cell: Cell, labels: Path, splits: Splits, common: Common, hardware: Hardware
) -> tuple[nn.Module, list[Row]]:
    """The model with its best weights, and the rows of its training."""
    if cell.method == "foveal":
        return train_foveal(cell, labels, common, hardware)
    torch.manual_seed(cell.seed)
    model, pixels = build(cell.method, splits, common)
    optimisation = fine_tuning(splits, common.batch, pixels)
    rows = train_for(cell.budget, model, splits, optimisation, seed=cell.seed, hardware=hardware)
    return model, rows


def train_foveal(
    cell: Cell, labels: Path, common: Common, hardware: Hardware
) -> tuple[nn.Module, list[Row]]:
    """Train as `foveal train` does by default, with the same encoder and first weights."""
    from foveal.phases.launch import start
    from foveal.planning.folder import folder

    model = Model(
        encoder=common.encoder,
        encoder_stage=common.encoder_stage,
        weights=common.weights,
        patch=common.patch,
        k=common.k,
    )
    experiment = folder(
        data=labels,
        model=model,
        beginning=Beginning(baseline=False),
        minutes=common.minutes,
        seed=cell.seed,
    )
    with TemporaryDirectory() as place:
        run = start(experiment, Path(place) / "run", hardware, progress=False)
        device = configure_fabric(hardware).device
        return load(run.path, device=device).model, run.rows()


def build(method: str, splits: Splits, common: Common) -> tuple[nn.Module, int]:
    """Build the model of a method other than foveal.

    Args:
        method: see `foveal.field.benchmark.common.Method`.
        splits: the sizes of patches and images follow from the median training image.
        common: what all methods share.

    Returns:
        The model, and the pixels of an image that go through the network with gradient.
    """
    encoder = Backbone(common.encoder, stage=common.encoder_stage, weights=common.weights)
    classes = len(splits.train.classes)
    height, width = image = sizing.median(sizes(splits.train))
    side = common.patch or sizing.patch(image)
    k = common.k or sizing.k(image, side)
    if method.startswith("whole-"):
        scale = min(1.0, int(method.removeprefix("whole-")) / max(image))
        size = round(height * scale), round(width * scale)
        return WholeImage(encoder=encoder, classes=classes, size=size), math.prod(size)
    if method == "dense":
        dense = DenseEvidence(encoder=encoder, classes=classes, patch=(side, side), k=k)
        return dense, height * width
    if method == "ips":
        rows, columns = (1 + math.ceil((s - side) / ((1 - OVERLAP) * side)) for s in image)
        selection = IterativePatchSelection(
            encoder=encoder,
            aggregate=CrossAttention(encoder.features),
            classes=classes,
            grid=(rows, columns),
            patch=(side, side),
            k=min(k, rows * columns),
        )
        return selection, k * side * side
    random = PatchClassifier(
        scorer=CellNumbers(),
        select=selectors.Random(k),
        encoder=encoder,
        aggregate=aggregators.max,
        classes=classes,
        view=sizing.view(image),
        patch=(side, side),
    )
    return random, k * side * side
