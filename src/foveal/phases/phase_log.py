"""What the phases report: a line as each begins and ends, how far it is, and the time it took."""

import time

from foveal._processes import is_rank_zero
from foveal._progress import ProgressLog, duration
from foveal.runs.folder import RunFolder

NAMES = ("proposals", "read", "teach", "look")
_TIMES = "times"


def title(name: str) -> str:
    """The phase of a name, among all.

    >>> title("read")
    'phase 2 of 4: read'
    """
    return f"phase {NAMES.index(name) + 1} of {len(NAMES)}: {name}"


class PhaseLog:
    """Lines on standard error and in the run's log; silent on all processes but rank zero.

    Args:
        folder: of the run.
        verbose: whether to write to standard error.

    Attributes:
        verbose: as given.
    """

    def __init__(self, folder: RunFolder, *, verbose: bool) -> None:
        self._folder, self.verbose = folder, verbose
        self._verbose = verbose and is_rank_zero()
        self._name, self._began = "", time.monotonic()
        self._progress: ProgressLog | None = None

    def begin(self, name: str, doing: str) -> None:
        """A phase begins, or what comes before all phases."""
        self._name, self._began = name, time.monotonic()
        what = title(name) if name in NAMES else f"before the phases: {name}"
        self.log(f"{what}, {doing}")
        self._progress = ProgressLog(what, verbose=self._verbose)

    def count(self, done: int, total: int) -> None:
        """So much of what is under way is done."""
        if self._progress is not None:
            self._progress.update(done, total)

    def end(self, found: str) -> None:
        """What was begun ends; a phase that was begun twice took the sum of both times."""
        self.close()
        seconds = time.monotonic() - self._began
        times = self._folder.kept(_TIMES) or {}
        self._folder.keep(_TIMES, times | {self._name: times.get(self._name, 0.0) + seconds})
        self.log(f"  {found} ({duration(seconds)})")

    def close(self) -> None:
        """Remove the bar, whether what was begun has ended or not."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def log(self, text: str) -> None:
        """Write a line."""
        if is_rank_zero():
            self._folder.note(text)
        ProgressLog("", verbose=self._verbose).print(text)


def seconds_of(folder: RunFolder) -> dict[str, float]:
    """The time that each phase of a run took, in their order.

    Of phases that are a training it is that of their metrics, which counts what was interrupted.
    """
    times = dict(folder.kept(_TIMES) or {})
    for name, run in (("read", RunFolder(folder.path / "phases" / "read")), ("look", folder)):
        if (rows := run.rows()) and (seconds := rows[-1]["seconds"]) is not None:
            times[name] = seconds
    order = {name: place for place, name in enumerate(("baseline", *NAMES))}
    return dict(sorted(times.items(), key=lambda each: order[each[0]]))
