"""The training of `foveal.field.benchmark.needle`, in a process of its own."""

import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from foveal._processes import sent_by_fresh
from foveal.errors import UserError


def in_fresh_process(order: dict[str, Any]) -> dict[str, Any]:
    """Train on labelled images and evaluate, in a process whose memory is that of nothing else.

    Args:
        order: labels and output, the options of `foveal.train`, and the number of threads.

    Returns:
        Some of the fields of `foveal.field.benchmark.needle.Needle`.

    Raises:
        UserError: the training cannot be made.
    """
    found, _ = sent_by_fresh(__name__, _report, order)
    if isinstance(found, UserError):
        raise found
    if isinstance(found, dict):
        return found
    found = found or "it ended without a result, perhaps for lack of memory"
    raise RuntimeError(f"the training failed in its own process:\n{found}")


def _report(sender: Connection, order: dict[str, Any]) -> None:
    """Send the figures, or what went wrong."""
    with sender:
        try:
            sender.send(_measure(**order))
        except UserError as error:
            sender.send(error)
        except Exception:
            sender.send(traceback.format_exc())


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
