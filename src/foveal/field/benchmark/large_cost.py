"""The cost of the prediction of one large file, in a process of its own."""

import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from foveal._processes import fresh_processes
from foveal.errors import UserError
from foveal.evaluation import predict
from foveal.field.benchmark.large import Cost
from foveal.images import FileImage
from foveal.models import patch_classifier
from foveal.paper.benchmark.peak import high_water
from foveal.runs import load
from foveal.runs.inputs import list_images

_COUNTERS = Path("/proc/self/io")


def in_fresh_process(order: dict[str, Any]) -> Cost:
    """What `measure` returns in a process of its own.

    Raises:
        UserError: the file cannot be predicted.
        RuntimeError: the process failed.
    """
    context = fresh_processes(__name__)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, order))  # type: ignore[attr-defined]
    process.start()
    sender.close()
    with receiver:
        try:
            found: Cost | UserError | str = receiver.recv()
        except EOFError:
            found = "it ended without a result, perhaps for lack of memory"
    process.join()
    if isinstance(found, UserError):
        raise found
    if isinstance(found, str):
        raise RuntimeError(f"the prediction of {order['file']} failed in its own process:\n{found}")
    return found


def _report(sender: Connection, order: dict[str, Any]) -> None:
    """Send the figures, or what went wrong."""
    with sender:
        try:
            sender.send(measure(**order))
        except UserError as error:
            sender.send(error)
        except Exception:
            sender.send(traceback.format_exc())


def measure(
    *, file: Path, box: tuple[int, int, int, int], repeats: int, threads: int, **model: Any
) -> Cost:
    """Predict a file in this process.

    Args:
        file: a tiled TIFF.
        box: of the spot in it.
        repeats: number of timed predictions.
        threads: number of processor threads.
        model: `run`, or `view`, `patch` and `k` of a new model.
    """
    torch.set_num_threads(threads)
    ask = _predictor(**model)
    ask(torch.zeros(3, 1024, 1024, dtype=torch.uint8))  # what is made once
    seconds, read = [], list[int]()
    for _ in range(repeats):
        before, begin = _bytes_read(), time.perf_counter()
        (result,) = ask(file)
        seconds.append(time.perf_counter() - begin)
        read += [] if before is None else [int(_bytes_read() or 0) - before]
    if result.error is not None:
        raise UserError(result.error)
    height, width = FileImage(file).size
    return Cost(
        height * width / 1e6,
        file.stat().st_size,
        statistics.median(seconds),
        high_water(),
        min(read, default=None),
        any(_meet(window, box) for window in result.windows),
    )


def _predictor(**model: Any) -> Callable[[Any], Any]:
    if "run" in model:
        return load(model["run"]).predict
    torch.manual_seed(0)
    network = patch_classifier("resnet18", classes=2, **model)
    return lambda source: list(predict(network, list_images(source), ("clean", "spot"), 1))


def _bytes_read() -> int | None:
    """Bytes that this process has read so far, of all files."""
    try:
        lines = _COUNTERS.read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def _meet(window: tuple[int, ...], box: tuple[int, int, int, int]) -> bool:
    tops, lefts = (max(window[i], box[i]) for i in (0, 1))
    bottoms, rights = (min(window[i], box[i]) for i in (2, 3))
    return tops < bottoms and lefts < rights
