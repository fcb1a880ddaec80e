"""What selection and extraction cost on this machine, beside a plain version of each.

    selection    `foveal.topk.perturbed`    beside  one-hots (B, S, K, N) of every sample, kept
    extraction   `foveal.patches.extract`   beside  all patches (B, N, C, h, w) unfolded, and einsum
    step         a training step            beside  the same with patches that are plain cuts

the first two also beside what PyTorch alone does, and beside optax and torchvision's roi_align
where these are to be had.

Times are medians of interleaved runs, one forward and one backward pass each, after a warm-up. Peak
memory is taken in a fresh process for each side, over what it holds once its inputs are made.
Importing this does not import torch.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.benchmark import growth
from foveal.benchmark.estimators import estimators
from foveal.benchmark.growth import Scaling
from foveal.benchmark.table import Row, Table

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["Row", "Scaling", "Table", "estimators", "extraction", "scaling", "selection", "step"]

_ESTIMATORS = ("exact", "conditional", "score_function", "diagonal", "diagonal_centred")


def selection(
    *,
    batch: int = 16,
    candidates: int = 900,
    slots: int = 10,
    samples: int = 500,
    sigma: float = 0.05,
    estimators: tuple[str, ...] = _ESTIMATORS,
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
) -> Table:
    """Compare the perturbed Top-K's estimators with the paper's manner of computing it.

    The scores are uniform in [0, 1]. Results differ from the plain one's by its sampling error, at
    most about 2 / sqrt(samples).

    Args:
        batch: B, images at once.
        candidates: N, windows to choose from.
        slots: K, windows chosen.
        samples: S, draws of the noise; exact has none.
        sigma: standard deviation of the noise.
        estimators: the sides to measure, see `foveal.topk.perturbed`.
        repeats: timed runs of each side.
        threads: of the processor.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {
        "batch": batch,
        "candidates": candidates,
        "slots": slots,
        "samples": samples,
    }
    settings |= {"sigma": sigma, "estimators": tuple(estimators)}
    return _compare("selection", settings, repeats, threads, device)


def extraction(
    *,
    batch: int = 8,
    channels: int = 3,
    image: tuple[int, int] = (1000, 1000),
    stride: int = 16,
    patch: tuple[int, int] = (100, 100),
    slots: int = 10,
    sigma: float = 0.05,
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
) -> Table:
    """Compare soft extraction with all patches unfolded and one einsum.

    The weights are those of the perturbed Top-K of uniform scores. As in training, they ask for a
    gradient and the images do not.

    Args:
        batch: B, images at once.
        channels: C of the images.
        image: (H, W) in pixels.
        stride: in pixels, of the N candidates, all that lie inside the image.
        patch: (h, w) in pixels.
        slots: K, patches extracted from each image.
        sigma: of the selection; the larger, the more candidates are in reach.
        repeats: timed runs of each side.
        threads: of the processor.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {
        "batch": batch,
        "channels": channels,
        "image": tuple(image),
        "stride": stride,
    }
    settings |= {"patch": tuple(patch), "slots": slots, "sigma": sigma}
    return _compare("extraction", settings, repeats, threads, device)


def step(
    *,
    batch: int = 8,
    size: int = 1000,
    view: int = 250,
    patch: int = 100,
    slots: int = 10,
    encoder: str = "resnet18",
    repeats: int = 3,
    threads: int = 1,
    device: str = "cpu",
) -> Table:
    """Compare a training step of the billiards recipe with the same step and a hard selection.

    One row is the part of the step that selects and extracts, with its backward pass.

    Args:
        batch: images of a step.
        size: height and width of an image in pixels.
        view: height and width of the view in pixels.
        patch: side of a patch in pixels.
        slots: K, patches of each image.
        encoder: timm network for the patches.
        repeats: timed runs of each side.
        threads: of the processor.
        device: cpu or cuda.
    """
    settings: dict[str, Any] = {"batch": batch, "size": size, "view": view, "patch": patch}
    settings |= {"slots": slots, "encoder": encoder}
    table = _compare("step", settings, repeats, threads, device)
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
    """Measure how the cost grows with N, K, B and the side of the image.

    Args:
        output: folder for a figure, scaling.png.
        varied: what is varied.
        repeats: timed runs of each side at each value.
        threads: of the processor.
        gigabytes: the plain version is left out where it would keep more, in 10^9 bytes.
        device: cpu or cuda.
    """
    points: list[growth.Point] = []
    for name in varied:
        for value in growth.VARIED[name][2]:
            task, settings = growth.settings(name, value)
            fits = growth.bytes_of_plain(task, settings) <= gigabytes * 1e9
            table = _compare(task, settings, repeats, threads, device, plain=fits, peers=False)
            points += [
                growth.Point(name, value, row.name, row.seconds, row.megabytes)
                for row in table.rows
            ]
    found = Scaling(tuple(points), _machine(threads, device))
    if output is not None:
        growth.drawn(found, output)
    return found


def _compare(
    task: str,
    settings: dict[str, Any],
    repeats: int,
    threads: int,
    device: str,
    *,
    plain: bool = True,
    peers: bool = True,
) -> Table:
    """Memory first, each side alone; then the time of those that fit, in turns."""
    from foveal.benchmark import peak, tasks

    names = tuple(
        name
        for name in tasks.names(task, settings)
        if (plain or name != tasks.PLAIN) and (peers or name not in tasks.PEERS)
    )
    memory = {name: peak.fresh(task, name, settings, threads, device) for name in names}
    with _threads(threads):
        runs = tasks.runs(task, settings, device)
        fitting = {name: runs[name] for name in names if memory[name] is not None}
        values = {name: run() for name, run in fitting.items()}
        seconds = _interleaved(fitting, repeats, device)
    rows = []
    for name, size in memory.items():
        apart = None
        if name in values and tasks.PLAIN in values:
            apart = (values[name] - values[tasks.PLAIN]).abs().max().item()
        megabytes = None if size is None else size / 1e6
        rows.append(Row(name, seconds.get(name), megabytes, apart))
    return Table(task, settings, _machine(threads, device), tuple(rows))


def _interleaved(
    runs: Mapping[str, "Callable[[], Tensor]"], repeats: int, device: str
) -> dict[str, float]:
    """The median seconds of each: ours, theirs, ours, theirs, so that a busy machine hits both."""
    import torch

    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in seconds.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _machine(threads: int, device: str) -> str:
    import torch

    from foveal.topk import compiled

    name = platform.processor() or platform.machine()
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        lines = processors.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    if device != "cpu":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    loops = "compiled loops" if compiled.AVAILABLE else "no compiled loops"
    return f"{name}, {threads} threads, {platform.system()}, torch {torch.__version__}, {loops}"
