"""Thousands of predictions take no more memory and file handles than hundreds."""

import os
import threading
from pathlib import Path

import pytest

import foveal
from every_format import images, pngs

RUN = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"
STATUS = Path("/proc/self/statm")


def use() -> tuple[int, int, int]:
    """Resident kilobytes, open files and threads of this process."""
    pages = int(STATUS.read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return resident, len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells what a process uses in /proc")
def test_memory_and_handles_stay_as_they_are_over_three_thousand_predictions(
    tmp_path: Path,
) -> None:
    for name, content in (images() | pngs()).items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2])
    run, count, after = foveal.load(RUN), 0, []
    while count < 3600:
        results = run.predict(tmp_path)
        count += len(results)
        after.append((count, *use()))
    assert any(result.error for result in results)
    assert any(result.error is None for result in results)
    warm = next(each for each in after if each[0] >= 600)
    last = after[-1]
    assert last[2:] == warm[2:], "open files, threads"
    assert last[1] - warm[1] < 4096, f"kilobytes over {last[0] - warm[0]} predictions"
