"""The recipe of Megapixel MNIST: the published sizes, and a tiny run from end to end."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

import foveal
import miniatures
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.models import AttentionSampling, IterativePatchSelection, PatchClassifier
from foveal.paper import recipes
from foveal.runs import RunFolder
from foveal.runs.record import stored_options

COUNTS = ["--train", "50", "--validation", "3", "--test", "3"]
SMALL = [*COUNTS, "--size", "120", "--noise", "2", "--view", "40", "40", "--k", "3", "--width", "8"]
TRAIN = [*SMALL, "--patch", "30", "--steps", "2", "--batch", "4"]


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.mnist(tmp_path_factory.mktemp("mnist"))


@pytest.mark.parametrize(
    ("model", "kind", "grid"),
    [
        ("attention_sampling", AttentionSampling, (180, 180)),
        ("patches", PatchClassifier, (57, 57)),
        ("iterative", IterativePatchSelection, (30, 30)),
    ],
)
def test_the_sizes_are_the_published_ones(model: str, kind: type, grid: tuple[int, int]) -> None:
    experiment = recipes.build("megapixel_mnist", {"data": Path("nowhere"), "model": model})
    assert isinstance(experiment.model, kind)
    assert (experiment.model.grid, experiment.model.patch) == (grid, (50, 50))
    chooser = getattr(experiment.model, "select", experiment.model)
    assert (chooser.k, experiment.training.optimisation.batch) == (10, 128)
    with pytest.raises(UserError, match="give the folder with the four files of MNIST"):
        experiment.splits()


def test_every_question_has_its_labels(mnist: Path) -> None:
    found = {}
    for task in ("majority", "max", "top", "present"):
        settings = {"data": mnist, "task": task, "train": 30, "validation": 1, "test": 1}
        experiment = recipes.build("megapixel_mnist", settings)
        found[task] = experiment.splits().train.labels
    assert (found["max"] >= found["majority"]).all()
    assert not torch.equal(found["max"], found["majority"])
    assert not torch.equal(found["top"], found["majority"])
    present = found.pop("present")
    assert 1 <= present.sum(dim=1).min() <= present.sum(dim=1).max() <= 3  # of five, three equal
    assert all(present[torch.arange(30), one].all() for one in found.values())


@pytest.mark.parametrize("model", ["attention_sampling", "patches", "iterative"])
def test_a_tiny_run_trains_saves_loads_and_reads_pictures_from_files(
    mnist: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, pictures = tmp_path / "run", tmp_path / "pictures"
    options = ["--data", str(mnist), "--model", model, *TRAIN]
    assert main(["train", "megapixel_mnist", *options, "--output", str(run)]) == 0
    assert main(["data", "megapixel_mnist", *options, "--output", str(pictures)]) == 0

    loaded = foveal.load(run)
    recipe = recipes.find("megapixel_mnist")
    fresh = recipe(**stored_options(RunFolder(run), recipe)).model
    for name, trained in loaded.model.state_dict().items():  # every part has learned something
        assert not torch.equal(trained, fresh.state_dict()[name]), name

    test = loaded.experiment.splits().test
    from_memory = loaded.predict([example.image for example in test])
    from_files = loaded.predict([pictures / example.file for example in test])
    for one, other in zip(from_memory, from_files, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities)
        assert one.windows == other.windows

    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], 0 <= told["hit_rate"] <= 1) == (3, True)
    assert main(["explain", str(run), str(pictures / "test"), "--output", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x" / "index.html").exists()


@pytest.mark.parametrize("model", ["attention_sampling", "patches", "iterative"])
def test_a_tiny_run_asked_for_sets_tells_sets_everywhere(
    mnist: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, pictures = tmp_path / "run", tmp_path / "pictures"
    options = ["--data", str(mnist), "--model", model, "--task", "present", *TRAIN]
    assert main(["train", "megapixel_mnist", *options, "--output", str(run)]) == 0
    assert main(["train", "megapixel_mnist", "--resume", "--output", str(run)]) == 0
    assert main(["data", "megapixel_mnist", *options, "--output", str(pictures)]) == 0

    loaded = foveal.load(run)
    test = loaded.experiment.splits().test
    logits = torch.cat([loaded.model([example.image]).logits for example in test])
    right = ((logits > 0) == test.labels).all(dim=1)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["accuracy"], told["confusion"]) == (int(right.sum()) / 3, [])
    assert main(["evaluate", str(run), "--data", str(pictures)]) == 2
    assert "class folders give one class per image" in capsys.readouterr().err

    for ending in ("csv", "jsonl"):
        output = ["--output", str(tmp_path / f"said.{ending}")]
        assert main(["predict", str(run), str(pictures / "test"), *output]) == 0
    rows = list(csv.DictReader((tmp_path / "said.csv").read_text().splitlines()))
    objects = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    for row, known in zip(rows, objects, strict=True):
        number = int(Path(row["file"]).stem)
        said = [name for name, logit in zip("0123456789", logits[number], strict=True) if logit > 0]
        assert known["label"] == said
        assert row["label"] == (" + ".join(said) or "(none)")
        each = known["probabilities"].items()
        likely = math.prod(p if name in said else 1 - p for name, p in each)
        assert known["probability"] == pytest.approx(likely)

    capsys.readouterr()
    assert main(["explain", str(run), str(pictures / "test"), "--output", str(tmp_path / "x")]) == 0
    assert "shown without true labels" in capsys.readouterr().err
    assert main(["explain", str(run), "--output", str(tmp_path / "own")]) == 0
    page = (tmp_path / "own" / "index.html").read_text("utf-8")
    for example, was_right in zip(test, right.tolist(), strict=True):
        assert example.file in page
        truth = " + ".join(str(c) for c in example.label.nonzero().flatten().tolist())
        assert (f"wrong: true class {truth}" in page) or was_right
    assert page.count("✓ correct") == int(right.sum())
