"""Whatever a run folder from elsewhere holds, it works or is refused in one line."""

import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foveal
import miniatures
from foveal.cli.main import main
from mutated import fault_of
from poisoned import Poison, poisons

OPTIONS = ["--encoder", "thin", "--view", "48", "48", "--patch", "16", "--k", "2", "--batch", "4"]
OPTIONS += ["--steps", "2", "--validate-every", "1", "--accelerator", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that could go on for a step."""
    place = tmp_path_factory.mktemp("made")
    counts = {"a": 4, "b": 4}
    photos = miniatures.class_folders(place / "photos", counts, size=(48, 64))
    assert main(["train", str(photos), "--output", str(place / "run"), *OPTIONS]) == 0
    return place / "run"


def faults(poison: Poison, run: Path, place: Path) -> list[str]:
    """What goes wrong with a poisoned copy of a run."""
    copy, image = Path(shutil.copytree(run, place / "run")), next(run.parent.rglob("*.png"))
    poison.apply(copy)

    def use() -> None:
        loaded = foveal.load(copy)
        loaded.evaluate()
        loaded.predict(image)

    words = ["explain", str(copy), str(image), "--output", str(place / "page")]
    tried: list[Callable[[], Any]] = [use]
    if poison.name.startswith(("metrics.csv", "phases")):  # which only a page shows
        tried.append(lambda: main(words))
    if not poison.is_huge:
        tried.append(lambda: main(["train", "--resume", "--output", str(copy)]))
    found = [fault_of(work) for work in tried]
    shutil.rmtree(place)
    return [f"{poison.name}\n{fault}" for fault in found if fault]


def check(run: Path, tmp_path: Path, share: float) -> None:
    every = poisons(run)
    some = random.Random(0).sample(every, math.ceil(share * len(every)))
    found = [fault for poison in some for fault in faults(poison, run, tmp_path / "copy")]
    assert not found, f"{len(found)} faults\n" + "\n".join(found)


@pytest.mark.usefixtures("unchecked")
def test_a_poisoned_run_works_or_is_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    check(run, tmp_path, 0.003)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_many_poisoned_runs_work_or_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    check(run, tmp_path, 0.1)
