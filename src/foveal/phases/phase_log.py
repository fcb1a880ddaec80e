"""What the phases report: a line as each begins and ends, and how far it is."""

import sys
import time

from foveal._processes import is_rank_zero
from foveal.runs.folder import RunFolder

NAMES = ("proposals", "read", "teach", "look")
_INTERVAL = 20.0  # seconds between two lines about progress


class PhaseLog:
    """Lines on standard error and in the run's log; silent on all processes but rank zero.

    Args:
        folder: of the run.
        verbose: whether to write to standard error.
    """

    def __init__(self, folder: RunFolder, *, verbose: bool) -> None:
        self._folder, self._verbose = folder, verbose
        self._began = self._shown = time.monotonic()

    def begin(self, name: str, doing: str) -> None:
        """A phase begins."""
        self._began = self._shown = time.monotonic()
        self.log(f"phase {NAMES.index(name) + 1} of {len(NAMES)}, {name}: {doing}")

    def count(self, done: int, total: int) -> None:
        """So much of what is under way is done."""
        now = time.monotonic()
        if now - self._shown > _INTERVAL and self._verbose and is_rank_zero():
            print(f"  {done} of {total}", file=sys.stderr, flush=True)
            self._shown = now

    def end(self, found: str) -> None:
        """A phase ends."""
        self.log(f"  {found} ({(time.monotonic() - self._began) / 60:.1f} min)")

    def log(self, text: str) -> None:
        """Write a line."""
        if is_rank_zero():
            self._folder.note(text)
            if self._verbose:
                print(text, file=sys.stderr, flush=True)
