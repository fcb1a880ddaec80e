"""What a run reports as it goes: progress bar, metrics.csv, the run's log and other loggers."""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from foveal._files import explained
from foveal._processes import is_rank_zero
from foveal._progress import ProgressLog
from foveal.errors import Failure, UserError
from foveal.runs.folder import Row, RunFolder
from foveal.training.interruption import Stopped
from foveal.training.loggers import LightningLogger
from foveal.training.state import State


class Clock:
    """Measures laps."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last call, at first since the clock was made."""
        before, self._last = self._last, time.monotonic()
        return self._last - before


@contextmanager
def log_failure(run: RunFolder | None) -> Iterator[None]:
    """Write the reason of a failure to the run's log; what the user cannot mend with its traceback.

    The error itself goes on, and the folder is left alone.
    """
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        if run is not None and is_rank_zero():
            said = isinstance(error, UserError | Failure)
            reason = str(error) if said else traceback.format_exc().rstrip()
            with suppress(UserError, OSError):  # a full disk must not hide the reason
                run.note(f"failed: {reason}")
        raise


class Logger:
    """Records the rows of a run and shows its progress; silent on all processes but rank zero.

    Args:
        run: folder of the run, or None.
        rows: rows of the run so far; new ones are appended.
        steps: number of steps of the whole run.
        first: number of steps made already.
        verbose: whether to write to standard error.
        title: of the progress.
        loggers: others that the rows go to, too; one that fails is left, and training goes on.
    """

    def __init__(
        self,
        run: RunFolder | None,
        rows: list[Row],
        steps: int,
        first: int,
        *,
        verbose: bool,
        title: str = "",
        loggers: Sequence[LightningLogger] = (),
    ) -> None:
        self._rows, self._steps = rows, steps
        self._run = run if is_rank_zero() else None
        self._progress = ProgressLog(title or "step", first, verbose=verbose and is_rank_zero())
        self._status = "loss -  accuracy -"
        self._board = _tensorboard(self._run, first)
        self._others = list(loggers) if is_rank_zero() else []

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar and close the files."""
        self._progress.close()
        if self._board is not None:
            with suppress(OSError):  # what is left of the curves; metrics.csv has them
                self._board.close()
        for other in self._others:
            with suppress(Exception):  # of another's package
                other.finalize("success" if error is None else "failed")

    def show_progress(self, step: int, state: State | None = None) -> None:
        """Show how far the run is.

        Args:
            step: number of steps made.
            state: what is known of them; None: no more than at the last call.
        """
        if state is not None:
            self._status = (
                f"loss {_format(state.mean_loss, '.3f')}  accuracy {_format(state.accuracy, '.1%')}"
            )
        self._progress.update(step, self._steps, self._status)

    def add_row(self, row: Row) -> None:
        """Record a row of metrics; a validation is also logged in words."""
        self._rows.append(row)
        if self._run is not None:
            self._run.append(row)
        if self._board is not None and self._run is not None:
            with explained(self._run.log):
                for name, value in row.items():
                    if value is not None and name != "step":
                        self._board.add_scalar(name, value, row["step"])
        self._add_to_others(row)
        if row["validation_loss"] is not None:
            line = (
                f"validation at step {row['step']}: loss {row['validation_loss']:.3f}  "
                f"accuracy {row['validation_accuracy']:.1%}  "
                f"balanced accuracy {row['validation_balanced_accuracy']:.1%}"
            )
            hit_rate = row["validation_hit_rate"]
            self.log(line if hit_rate is None else f"{line}  hit rate {hit_rate:.1%}")

    def _add_to_others(self, row: Row) -> None:
        metrics = {name: v for name, v in row.items() if v is not None and name != "step"}
        for other in tuple(self._others):
            try:
                other.log_metrics(metrics, step=int(row["step"] or 0))
            except Exception as error:  # of another's package, such as a lost connection
                self._others.remove(other)
                reason = " ".join(str(error).split()) or type(error).__name__
                self.log(
                    f"warning: {type(other).__name__} gets no more rows ({reason}); metrics.csv has"
                    " them all"
                )

    def log(self, text: str) -> None:
        """Write a line to standard error and to the run's log."""
        self._progress.print(text)
        if self._run is not None:
            self._run.note(text)


def _tensorboard(run: RunFolder | None, first: int) -> Any:
    """A writer into the run's log if TensorBoard is installed; resuming drops later points."""
    if run is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    with explained(run.log):
        return SummaryWriter(str(run.log), purge_step=first + 1)


def _format(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
