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
from foveal.planning.cross_validation import _figures
from foveal.runs import RunFolder
from mutated import CHANGES, FEW, MANY, TEXT_CHANGES, fault_of, mutated
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


def uses(copy: Path, file: str) -> list[Callable[[], Any]]:
    """What reads a file of a run."""
    name, folder = Path(file).stem, RunFolder(copy)
    if file.startswith("phases"):
        return [lambda: folder.kept(name)]
    if file.endswith("state.pt"):
        return [folder.state]
    if file == "evaluation.json":
        return [lambda: _figures(copy / file)]
    if file == "metrics.csv":
        return [folder.rows]
    return [lambda: foveal.load(copy).labelled_images()]


def check_damage(run: Path, tmp_path: Path, count: int) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "evaluation.json").write_text('{"accuracy": 0.5, "n": [1, {"a": null}]}')
    best = "checkpoints/best/model.safetensors"
    files = ["recipe.yaml", "model.yaml", "data.csv", "metrics.csv", "evaluation.json", best]
    files += ["checkpoints/last/state.pt"]
    files += [str(path.relative_to(copy)) for path in copy.glob("phases/*.pt")]
    found = []
    for number in range(count):
        chance = random.Random(number)
        file = chance.choice(files)
        content = (copy / file).read_bytes()
        is_text = not file.endswith(("pt", "safetensors"))
        damaged = mutated(content, chance, TEXT_CHANGES if is_text else CHANGES)
        if file == best and chance.random() < 0.5:  # the header, of which there is little
            damaged = mutated(content[:400], chance, TEXT_CHANGES) + content[400:]
        (copy / file).write_bytes(damaged)
        faults = filter(None, map(fault_of, uses(copy, file)))
        found += [f"{number} {file}: {fault}" for fault in faults]
        (copy / file).write_bytes(content)
    assert not found, f"{len(found)} faults\n" + "\n".join(found[:5])


@pytest.mark.usefixtures("unchecked")
def test_a_run_with_a_damaged_file_works_or_is_refused_in_one_line(
    run: Path, tmp_path: Path
) -> None:
    check_damage(run, tmp_path, int(0.03 * FEW))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_many_runs_with_a_damaged_file_work_or_are_refused_in_one_line(
    run: Path, tmp_path: Path
) -> None:
    check_damage(run, tmp_path, int(0.03 * MANY))
