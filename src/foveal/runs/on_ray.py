"""Predictions by several processes, on one machine or on many: Ray Data, of the extra ray.

Each worker is an actor of Ray with the model of its own. Ray gives it groups of images, restarts
it where it dies, and gives its group to a worker again: no result is lost, none comes twice.
"""

import logging
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from foveal._devices import best_device
from foveal.errors import Failure, UserError
from foveal.evaluation import Result, Thresholds
from foveal.runs.inputs import ImageList, Listed
from foveal.runs.run import Run, load

_GROUP = 128  # images that a worker is given at once: some batches, the next of which is decoded
_GROUPS_OF_A_WORKER = 4  # at least, so that none waits long for another at the end
_BLOCKS = 4096  # at most: Ray takes some milliseconds for each


def check_ray() -> None:
    """Refuse to go on where Ray Data is not installed.

    Raises:
        UserError: one line with the remedy.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UserError(
            "--engine ray: Ray Data is not installed: pip install 'foveal[ray]', or leave out "
            "--engine"
        )


def results_on_ray(
    run: Path,
    images: Sequence[Listed],
    *,
    thresholds: Thresholds | None = None,
    workers: int | None = None,
) -> Iterator[Result]:
    """Predict images by workers of Ray; see `Run.results`.

    The cluster is the one that the environment variable RAY_ADDRESS names; without it, workers are
    processes of this machine. Each has one GPU, or one processor core where there is no GPU. They
    read the run and the images themselves, by the same names as here.

    Args:
        run: what `load` takes.
        images: what `list_images` lists.
        thresholds: that classes are predicted at; None: see `Run.results`.
        workers: number of them; None: as many as the cluster has GPUs, or else cores.

    Returns:
        A result per image, as soon as the group that it is in is predicted: in any order.

    Raises:
        UserError: a worker cannot read the run.
        Failure: Ray cannot go on.
    """
    if not images:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        _start(workers)
    try:
        for row in _predicted(run, images, thresholds, workers).iter_rows():
            found = pickle.loads(row["results"])
            if isinstance(found, UserError):
                raise found
            yield from found
    except RayError as error:
        raise Failure(f"Ray: {' '.join(str(error).split())}") from error
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """A model in a process of its own, which predicts groups of images.

    Where the run cannot be read, it answers with the reason: Ray would begin it again and again.
    """

    def __init__(self, run: str, folder: str, thresholds: Thresholds | None) -> None:
        self.thresholds = thresholds
        try:
            os.chdir(folder)  # names of files mean what they mean to the command
            self.run: Run | UserError = load(run, device=best_device())
        except OSError as error:
            self.run = UserError(f"{folder}: not there on a machine of Ray ({error.strerror})")
        except UserError as error:
            self.run = error

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {"results": [pickle.dumps(self._answer(pickle.loads(r))) for r in rows["images"]]}

    def _answer(self, images: Sequence[Listed]) -> list[Result] | UserError:
        if isinstance(self.run, UserError):
            return self.run
        return list(self.run.results(ImageList(images), thresholds=self.thresholds))


def _start(workers: int | None) -> None:
    """Connect to the cluster that the environment names, or start one on this machine."""
    import ray

    own = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": "error"}
    address = os.environ.get("RAY_ADDRESS")
    try:
        with _without_stderr():
            if address:
                ray.init(**quiet)
            else:
                ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
    except Exception as error:  # of as many kinds as there are reasons
        why = f"RAY_ADDRESS {address} cannot be reached" if address else "Ray cannot be started"
        raise Failure(f"{why}: {' '.join(str(error).split())}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, own)  # which Ray has replaced


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what compiled code writes to standard error: Ray repeats its settings there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _predicted(
    run: Path, images: Sequence[Listed], thresholds: Thresholds | None, workers: int | None
) -> Any:
    """Rows of pickled groups of results, as a data set of Ray that is computed when it is read."""
    import ray

    room = ray.cluster_resources()
    gpus = int(room.get("GPU", 0))
    workers = workers or gpus or int(room.get("CPU", 0)) or 1
    size = max(1, min(_GROUP, len(images) // (_GROUPS_OF_A_WORKER * workers)))
    groups = [
        {"images": pickle.dumps(images[first : first + size])}
        for first in range(0, len(images), size)
    ]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    data = ray.data.from_items(groups, override_num_blocks=min(len(groups), _BLOCKS))
    return data.map_batches(
        _Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        fn_constructor_args=(str(run), os.getcwd(), thresholds),
        **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
    )
