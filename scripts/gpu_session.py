"""Commands that run until a deadline, and what became of them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-W", "ignore")


@dataclass(frozen=True)
class Outcome:
    """What a stage, or a command, came to.

    Attributes:
        state: done, cut, failed or left out.
        seconds: that it took.
        text: what it printed, Markdown.
    """

    state: str
    seconds: float
    text: str


class Session:
    """Runs commands until a deadline.

    Args:
        folder: of the report.
        pack: what was carried to this machine, see gpu_pack.py.
        minutes: for everything.
        rehearse: everything small, on the CPU.
    """

    def __init__(self, folder: Path, pack: Path, minutes: float, rehearse: bool) -> None:
        self.folder, self.pack, self.rehearse = folder, pack, rehearse
        self.deadline = self.end = time.monotonic() + 60 * minutes
        self.device = "cpu" if rehearse else "cuda"

    def begin(self, seconds: float) -> None:
        """Begin a stage that may take so long."""
        self.end = min(self.deadline, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until the end of the stage."""
        return self.end - time.monotonic()

    def run(self, *command: str, least: float = 1.0) -> Outcome:
        """Run a command; at the end of the stage, ask it to end, and then end it.

        Args:
            command: program and arguments.
            least: seconds that it has even after the end.
        """
        begin = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=err, start_new_session=True
            )
            state = "done"
            try:
                process.wait(max(least, self.left))
            except subprocess.TimeoutExpired:
                state = "cut"
                for number, patience in ((signal.SIGTERM, 8.0), (signal.SIGKILL, 60.0)):
                    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                        os.killpg(process.pid, number)
                        process.wait(patience)
                        break
            text, errors = (_content(each) for each in (out, err))
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{errors}\n")
        if state == "done" and process.returncode:
            state = "failed"
            text += "\n" + "\n".join(errors.splitlines()[-15:])
        return Outcome(state, time.monotonic() - begin, text.strip())

    def foveal(self, *arguments: object, least: float = 1.0) -> Outcome:
        """Run a command of foveal."""
        return self.run(*PYTHON, "-m", "foveal", *map(str, arguments), least=least)

    def benchmarks(self, *each: tuple[object, ...]) -> Outcome:
        """Run several benchmarks, one after the other."""
        found = [self.foveal("benchmark", *one, "--device", self.device) for one in each]
        states = {outcome.state for outcome in found}
        worst = next(state for state in ("failed", "cut", "done") if state in states)
        text = "\n\n".join(outcome.text for outcome in found)
        return Outcome(worst, sum(outcome.seconds for outcome in found), text)


def fenced(outcome: Outcome) -> Outcome:
    """The text as it is, in Markdown."""
    return replace(outcome, text=f"```\n{outcome.text}\n```")


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
