"""How far a piece of work is, on standard error: bars on a terminal, elsewhere some lines."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from foveal._terminal import note, printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")

_INTERVAL_SECONDS, _INTERVAL_FRACTION = 30.0, 0.1  # between two lines
_WIDE = 100  # characters of a terminal, on which a bar is longer


def progress_bar(*columns: "ProgressColumn | str") -> "Progress":
    """Return a bar, shown from `with` on and removed at its end.

    Args:
        columns: what it shows; none: rich's own, a text, a bar, and the time that is left.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Iterate with a bar.

    Args:
        items: what is iterated over.
        what: text beside the bar.
        total: number of items.
    """
    with progress_bar() as bar:
        yield from bar.track(items, total, description=what)


class ProgressLog:
    """How far a longer work is, with the time it has taken and the time that is left.

    A terminal gets a bar, which `close` removes; anything else a line per tenth of the work or per
    30 seconds.

    Args:
        what: is being done, as in "phase 2 of 4: read, step".
        first: number of steps, images or the like that were done before.
        verbose: whether anything is written.
        tenths: whether a line is written per tenth of the work, too; not for what may be short.
    """

    def __init__(
        self, what: str, first: int = 0, *, verbose: bool = True, tenths: bool = True
    ) -> None:
        self._what, self._verbose, self._tenths, self._pass = what, verbose, tenths, 1
        self._bar = _timed_bar(what) if verbose and sys.stderr.isatty() else None
        self._begin(first, 0)

    def _begin(self, first: int, total: int) -> None:
        self._first = self._done = self._printed_at = first
        self._total = total
        self._began = self._printed = time.monotonic()
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.reset(
                task, total=total or None, completed=first, description=self._described()
            )

    def update(self, done: int, total: int, status: str = "") -> None:
        """So much of all is done; another total, or less than before, begins another pass.

        Args:
            done: number of steps, images or the like.
            total: of all.
            status: what else there is to say.
        """
        if done < self._done or (self._total and total != self._total):
            self._pass += 1
            self._begin(0, total)
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=done, total=total, status=status, refresh=False
            )
            with suppress(OSError):
                self._bar.start()
            return
        now = time.monotonic()
        far = done - self._printed_at >= _INTERVAL_FRACTION * total or done == total
        late = now - self._printed > _INTERVAL_SECONDS
        if self._verbose and (late or (far and self._tenths)):
            counted = f"{self._described()} {done} of {total}"
            self.print("  ".join(filter(None, (counted, status, self._times(now)))))
            self._printed, self._printed_at = now, done

    def print(self, text: str) -> None:
        """Write a line, above the bar."""
        if not self._verbose:
            return
        if self._bar is None:
            note(text)
            return
        with suppress(OSError):  # nobody may be there to read it
            self._bar.console.print(printable(text), highlight=False, markup=False)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()

    def _described(self) -> str:
        return self._what if self._pass == 1 else f"{self._what}, pass {self._pass},"

    def _times(self, now: float) -> str:
        taken = now - self._began
        left = taken / max(1, self._done - self._first) * (self._total - self._done)
        return f"{duration(taken)} elapsed, {duration(left)} left"


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours.

    >>> duration(5), duration(150), duration(9000)
    ('5 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _timed_bar(what: str) -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    bar = progress_bar(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        MofNCompleteColumn(),
        BarColumn(bar_width=24 if Console(stderr=True).width >= _WIDE else 6),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TimeRemainingColumn(compact=True, table_column=Column(min_width=5)),
        TextColumn("left", table_column=Column(min_width=4)),
        TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
    )
    bar.add_task(what, total=None, status="")
    return bar
