"""Work split over processes."""

import math
import os
import subprocess
import sys

import pytest

from foveal._processes import parallel_map

PIPED = """
import math
from foveal._processes import parallel_map
print(list(parallel_map(math.factorial, range(5), 2)))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    tasks = [5, 3, 0, 4]
    assert list(parallel_map(math.factorial, tasks, workers)) == [120, 6, 1, 24]


def test_a_program_that_is_piped_into_python_does_the_work_itself() -> None:
    ended = subprocess.run(
        [sys.executable], input=PIPED, env=dict(os.environ), capture_output=True, text=True
    )
    assert ended.stdout.strip() == "[1, 1, 2, 6, 24]", ended.stderr
