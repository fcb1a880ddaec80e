"""Runs of foveal 0.1 load, predict and resume in every later version."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import foveal
from fixtures import format1
from foveal.evaluation import chosen_windows
from foveal.phases.launch import resume
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware

FIXTURES = Path(format1.__file__).parent
RECIPES = ("folder", "billiards_mini")


def copy_of(recipe: str, directory: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the run whose images are there again, and what version 0.1 said of it."""
    source = FIXTURES / f"run_format1_{recipe}"
    run = directory / "run"
    shutil.copytree(source / "run", run)
    expected = json.loads((source / "expected.json").read_text())
    if recipe == "folder":
        format1.make_images(directory / "images")
        assert format1.digest(directory / "images") == expected["images_sha256"]
        stored = yaml.safe_load((run / "recipe.yaml").read_text())
        stored["settings"]["data"] = str(directory / "images")
        (run / "recipe.yaml").write_text(yaml.safe_dump(stored, sort_keys=False))
    return run, expected


def images_of(recipe: str) -> torch.Tensor:
    return torch.from_numpy(format1.formula_images(*format1.SIZES[recipe]))


def assert_predicts(run: Path, recipe: str, expected: dict[str, Any], **tolerance: float) -> None:
    loaded = foveal.load(run)
    assert loaded.checkpoint == expected["checkpoint"]
    assert list(loaded.classes) == expected["classes"]
    with torch.no_grad():
        prediction = loaded.model(images_of(recipe))
    logits = torch.tensor(expected["logits_best"], dtype=torch.float64)
    torch.testing.assert_close(prediction.logits.double(), logits, **tolerance)
    assert chosen_windows(prediction).tolist() == expected["windows_best"]


def measurements(text: str) -> list[list[float]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    times = ("seconds", "images_per_second")
    return [[float(v) for k, v in row.items() if v and k not in times] for row in rows]


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_old_run_loads_with_equal_logits(recipe: str, tmp_path: Path) -> None:
    run, expected = copy_of(recipe, tmp_path)
    assert_predicts(run, recipe, expected["stopped"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_old_run_is_evaluated_on_its_own_images(recipe: str, tmp_path: Path) -> None:
    run, expected = copy_of(recipe, tmp_path)
    report = foveal.load(run).evaluate()
    assert report.n == expected["stopped"]["test"]["n"]
    assert report.loss == pytest.approx(expected["stopped"]["test"]["loss"], rel=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_old_run_is_resumed_to_the_same_end(recipe: str, tmp_path: Path) -> None:
    run, expected = copy_of(recipe, tmp_path)
    resume(run, Hardware(accelerator="cpu"))
    rows = measurements(RunFolder(run).metrics_file.read_text())
    old = measurements(expected["resumed"]["metrics_csv"])
    for row, old_row in zip(rows, old, strict=True):
        # colours of training images are no longer rounded to 1/255
        assert row == pytest.approx(old_row, rel=2e-2, abs=1e-3)
    # as above, and other processors round differently
    assert_predicts(run, recipe, expected["resumed"], rtol=1e-3, atol=5e-3)
