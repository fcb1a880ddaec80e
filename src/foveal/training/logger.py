"""What is told of a run as it goes on: to the eye, to metrics.csv, to TensorBoard, to the log."""

import sys
import time
from types import TracebackType
from typing import Any

from foveal.runs.folder import Row, RunFolder
from foveal.training.state import State

_EVERY_SECONDS, _EVERY_SHARE = 30.0, 0.1


class Clock:
    """Tells how long things take."""

    def __init__(self) -> None:
        """Begin."""
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, time.monotonic()
        return self._last - before


class Logger:
    """Keeps the rows of a run and shows how it goes; only one process of a run keeps one aloud.

    On a terminal there is a bar on standard error; elsewhere, a line every tenth of the run or
    every 30 seconds.

    Args:
        run: where to write, or None.
        rows: those of the run so far; new ones are appended.
        steps: of the whole run.
        first: steps made already.
        aloud: whether to write to standard error.
    """

    def __init__(
        self, run: RunFolder | None, rows: list[Row], steps: int, first: int, *, aloud: bool
    ) -> None:
        """Open what there is to write to."""
        self.rows = rows
        self._run, self._steps, self._first, self._aloud = run, steps, first, aloud
        self._begin = self._said = time.monotonic()
        self._said_step = first
        self._board = _tensorboard(run, first)
        self._bar = _bar(steps, first) if aloud and sys.stderr.isatty() else None

    def __enter__(self) -> "Logger":
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away and close the files."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()

    def advance(self, state: State) -> None:
        """Show how far the run has come."""
        step = state.step
        news = (
            f"loss {_shown(state.mean_loss, '.3f')}  accuracy {_shown(state.accuracy, '.1%')}  "
            f"{state.rate:.3g} images/s"
        )
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, news=news)
            return
        now = time.monotonic()
        far = step - self._said_step >= _EVERY_SHARE * self._steps
        if self._aloud and (far or step == self._steps or now - self._said > _EVERY_SECONDS):
            left = (now - self._begin) / (step - self._first) * (self._steps - step)
            self._print(f"step {step} of {self._steps}  {news}  {_duration(left)} left")
            self._said, self._said_step = now, step

    def row(self, row: Row) -> None:
        """Keep a row of measurements; those of a validation are told."""
        self.rows.append(row)
        if self._run is not None:
            self._run.append(row)
        if self._board is not None:
            for name, value in row.items():
                if value is not None and name != "step":
                    self._board.add_scalar(name, value, row["step"])
        if row["validation_loss"] is not None:
            told = (
                f"validation at step {row['step']}: loss {row['validation_loss']:.3f}  "
                f"accuracy {row['validation_accuracy']:.1%}  "
                f"balanced {row['validation_balanced_accuracy']:.1%}"
            )
            hit = row["validation_hit_rate"]
            self.say(told if hit is None else f"{told}  hits {hit:.1%}")

    def say(self, text: str) -> None:
        """Write a line to standard error and to the log."""
        if self._aloud:
            self._print(text)
        if self._run is not None:
            self._run.note(text)

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _bar(steps: int, first: int) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task("train", total=steps, completed=first, news="")
    return bar


def _tensorboard(run: RunFolder | None, first: int) -> Any:
    """A writer into the run's log if TensorBoard is installed; a resumed run drops later points."""
    if run is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run.log), purge_step=first + 1)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
