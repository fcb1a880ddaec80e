"""Laws of work split over threads."""

import os
from collections.abc import Iterator

import pytest
import torch

from foveal import _threads as threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("images", [1, 2, 6, 7, 50])
def test_every_image_is_worked_on_once(images: int) -> None:
    seen: list[int] = []
    threads.split(lambda first, last: seen.extend(range(first, last)), images)
    assert sorted(seen) == list(range(images))


def test_an_error_in_a_thread_is_raised() -> None:
    def fail() -> None:
        raise ValueError("seen")

    with pytest.raises(ValueError, match="seen"):
        threads.run_tasks([lambda: None, fail, lambda: None])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done: list[int] = []
    threads.run_tasks([lambda: done.append(1)] * 9)
    child = os.fork()
    if child == 0:
        threads.run_tasks([lambda: done.append(1)] * 9)
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 18
