"""Ten thousand predictions take no more memory and file handles than hundreds."""

import os
import statistics
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
def test_memory_and_handles_stay_as_they_are_over_ten_thousand_predictions(
    tmp_path: Path,
) -> None:
    for name, content in (images() | pngs()).items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2])
    run, count, after = foveal.load(RUN), 0, []
    while count < 10_000:
        results = run.predict(tmp_path)
        count += len(results)
        after.append((count, *use()))
    assert any(result.error for result in results)
    assert any(result.error is None for result in results)
    quarter = len(after) // 4
    warm, last = after[quarter : 2 * quarter], after[-quarter:]
    assert {each[2:] for each in last} == {each[2:] for each in warm}, "open files, threads"
    # what is resident goes up and down by some MB: where it lies, not where it ends
    before, now = (statistics.median(each[1] for each in some) for some in (warm, last))
    assert now - before < 4096, f"{now - before} kilobytes more, from {before}"
