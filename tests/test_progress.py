"""Progress: some lines in a file, a bar on a terminal, and another count where another begins."""

import os
import subprocess
import sys

import pytest

from foveal._progress import ProgressLog

PROGRAM = """
import time
from foveal._progress import ProgressLog
progress = ProgressLog("phase 2 of 4: read")
for done in range(1, 9):
    progress.update(done, 10, "loss 0.5")
    time.sleep(0.1)
progress.print("validated")
progress.close()
"""


def test_a_file_gets_a_line_per_tenth_with_what_is_done_and_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = ProgressLog("reading", verbose=True)
    for done in range(1, 1001):
        progress.update(done, 1000, f"loss {done}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("reading 100 of 1000  loss 100  0 s elapsed, ")
    assert lines[-1].endswith("0 s left")
    for done in range(1, 21):
        progress.update(done, 20)
    assert capsys.readouterr().err.splitlines()[0].startswith("reading, pass 2, 2 of 20")


def test_what_was_done_before_does_not_count_as_fast(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressLog("step", 800)
    progress._began -= 100  # a hundred steps took so many seconds
    progress.update(900, 1000)
    assert capsys.readouterr().err.splitlines() == ["step 900 of 1000  2 min elapsed, 2 min left"]


def test_nothing_is_written_where_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressLog("step", verbose=False)
    progress.update(1, 1)
    progress.print("text")
    progress.close()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_is_removed_at_the_end() -> None:
    master, slave = os.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=slave, check=True, env=environment)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # the end of a terminal
        pass
    os.close(master)
    text = shown.decode()
    assert "phase 2 of 4: read" in text
    assert "left" in text
    assert "loss 0.5" in text
    assert "validated" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again
    assert text.rindex("\x1b[2K") > text.rindex("left")  # the line is empty
