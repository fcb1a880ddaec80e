"""What selection, extraction and whole models cost on this machine, beside a plain version of each.

    selection    `foveal.topk.perturbed`    beside  one-hots (B, S, K, N) of every sample, kept
    extraction   `foveal.patches.extract`   beside  all patches (B, N, C, h, w) unfolded, and einsum
    step         a training step            beside  the same with patches that are plain cuts
    shares       the parts of a training step on street scenes, and reading files
    models       training and inference     of every model of the package
    speed        inference, over the size   of the patch model, and of encoders on the whole image
    operators    `foveal.topk`              beside  differentiable Top-K operators of the literature

the first two also beside what PyTorch alone does, and beside optax and torchvision's roi_align
if they are installed.

Times are medians of interleaved runs after a warm-up, but for inference one forward and one
backward pass each. Peak memory is taken in a fresh process for each variant, over what it holds
once its inputs are made.
Importing this does not import torch.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal.paper.benchmark import clock, growth
from foveal.paper.benchmark.comparison import Comparison, Measurement, compare
from foveal.paper.benchmark.costs import Costs, models
from foveal.paper.benchmark.estimators import estimators
from foveal.paper.benchmark.growth import Scaling
from foveal.paper.benchmark.operator_figures import OperatorFigures
from foveal.paper.benchmark.operators import operators
from foveal.paper.benchmark.shares import Shares, shares
from foveal.paper.benchmark.speeds import Speeds, speed

__all__ = [
    "TASKS",
    "Comparison",
    "Costs",
    "Measurement",
    "OperatorFigures",
    "Scaling",
    "Shares",
    "Speeds",
    "estimators",
    "extraction",
    "models",
    "operators",
    "scaling",
    "selection",
    "shares",
    "speed",
    "step",
]

_ESTIMATORS = ("exact", "conditional", "score_function", "diagonal", "diagonal_centred")


def selection(
    *,
    batch: int = 16,
    candidates: int = 900,
    k: int = 10,
    samples: int = 500,
    sigma: float = 0.05,
    estimators: tuple[str, ...] = _ESTIMATORS,
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
) -> Comparison:
    """Compare the perturbed Top-K's estimators with the paper's manner of computing it.

    The scores are uniform in [0, 1]. Results differ from the plain one's by its sampling error, at
    most about 2 / sqrt(samples).

    Args:
        batch: number of images at once.
        candidates: number of windows to select from.
        k: number of windows selected per image.
        samples: number of noise draws; exact has none.
        sigma: standard deviation of the noise.
        estimators: what is measured, see `foveal.topk.perturbed`.
        repeats: number of timed runs of each variant.
        threads: number of processor threads.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {
        "batch": batch,
        "candidates": candidates,
        "k": k,
        "samples": samples,
    }
    settings |= {"sigma": sigma, "estimators": tuple(estimators)}
    return compare("selection", settings, repeats, threads, device)


def extraction(
    *,
    batch: int = 8,
    channels: int = 3,
    image: tuple[int, int] = (1000, 1000),
    stride: int = 16,
    patch: tuple[int, int] = (100, 100),
    k: int = 10,
    sigma: float = 0.05,
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
) -> Comparison:
    """Compare soft extraction with all patches unfolded and one einsum.

    The weights are those of the perturbed Top-K of uniform scores. As in training, they ask for a
    gradient and the images do not.

    Args:
        batch: number of images at once.
        channels: number of channels of the images.
        image: (H, W) in pixels.
        stride: in pixels, of the N candidates, all that lie inside the image.
        patch: (h, w) in pixels.
        k: number of patches per image.
        sigma: standard deviation of the noise; the larger, the more candidates are in reach.
        repeats: number of timed runs of each variant.
        threads: number of processor threads.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {
        "batch": batch,
        "channels": channels,
        "image": tuple(image),
        "stride": stride,
    }
    settings |= {"patch": tuple(patch), "k": k, "sigma": sigma}
    return compare("extraction", settings, repeats, threads, device)


def step(
    *,
    batch: int = 8,
    size: int = 1000,
    view: int = 250,
    patch: int = 100,
    k: int = 10,
    encoder: str = "resnet18",
    repeats: int = 3,
    threads: int = 1,
    device: str = "cpu",
) -> Comparison:
    """Compare a training step of the billiards recipe with the same step and a hard selection.

    One row is the part of the step that selects and extracts, with its backward pass.

    Args:
        batch: number of images per step.
        size: height and width of an image in pixels.
        view: height and width of the view in pixels.
        patch: side of a patch in pixels.
        k: number of patches per image.
        encoder: timm network for the patches.
        repeats: number of timed runs of each variant.
        threads: number of processor threads.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {"batch": batch, "size": size, "view": view, "patch": patch}
    settings |= {"k": k, "encoder": encoder}
    table = compare("step", settings, repeats, threads, device)
    whole, part, hard = table.rows
    notes = []
    if whole.seconds and part.seconds:
        share = 100 * part.seconds / whole.seconds
        notes.append(f"Selection and extraction take {share:.1f} % of the step.")
    if whole.megabytes and hard.megabytes:
        ratio = whole.megabytes / hard.megabytes
        notes.append(f"Its peak memory is {ratio:.2f} x that with a hard selection.")
    return replace(table, notes=tuple(notes))


def scaling(
    *,
    output: Path | None = None,
    varied: tuple[str, ...] = tuple(growth.VARIED),
    repeats: int = 3,
    threads: int = 1,
    gigabytes: float = 3.0,
    device: str = "cpu",
) -> Scaling:
    """Measure how the cost grows with N, K, B and the size of the image.

    Args:
        output: folder for a figure, scaling.png.
        varied: what is varied.
        repeats: number of timed runs of each variant at each value.
        threads: number of processor threads.
        gigabytes: the plain version is left out where it would keep more, in 10^9 bytes.
        device: cpu or cuda.
    """
    points: list[growth.Point] = []
    for name in varied:
        for value in growth.VARIED[name][2]:
            task, settings = growth.settings(name, value)
            fits = growth.bytes_of_plain(task, settings) <= gigabytes * 1e9
            table = compare(task, settings, repeats, threads, device, plain=fits, peers=False)
            points += [
                growth.Point(name, value, row.name, row.seconds, row.megabytes)
                for row in table.rows
            ]
    found = Scaling(tuple(points), clock.machine(threads, device))
    if output is not None:
        growth.drawn(found, output)
    return found


TASKS: dict[str, Callable[..., Any]] = {
    "selection": selection,
    "extraction": extraction,
    "step": step,
    "shares": shares,
    "scaling": scaling,
    "models": models,
    "speed": speed,
    "estimators": estimators,
    "operators": operators,
}
"""What can be measured, by name."""
