"""foveal plan and the budget in minutes; what a training came to, in sentences."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import miniatures
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.evaluation import Result, summarise
from foveal.nn.encoders import Backbone
from foveal.planning import beginnings
from foveal.planning.budget import Costs, fit_minutes, forecast
from foveal.report.verdict import verdict
from foveal.settings import Beginning, Model, Optimisation

COSTS = Costs(features=0.4, window=0.01, view=0.1, look=0.2, searched=1.08)
IMAGES = {"images": 400, "validation": 60}
COUNTS = {**IMAGES, "patch": 64}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight images each."""
    root = tmp_path_factory.mktemp("photos")
    return miniatures.class_folders(root, {"cat": 8, "dog": 8}, size=(96, 128))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small timm network."""
    file = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(Backbone("test_resnet", stage=-1).network.state_dict(), file)
    return file


@pytest.mark.parametrize("minutes", [12, 20, 30])
@pytest.mark.parametrize("begins", [True, False])
def test_the_forecast_of_a_budget_is_the_budget(minutes: float, begins: bool) -> None:
    beginning = Beginning() if begins else None
    fitted, looking = fit_minutes(
        minutes, COSTS, beginning, Optimisation(steps=0), **IMAGES, patch=None
    )
    assert looking.steps > 0
    if begins:
        looking = replace(looking, validate_every=max(1, looking.steps // 6))
        quick = replace(fitted, read_steps=fitted.trusted_read_steps)
        spared = forecast(COSTS, quick, looking, **IMAGES, reranked=False)
        most = 120 * 400 / looking.batch  # passes over the images
        assert quick.read_steps > fitted.read_steps or fitted.read_steps == most
        assert spared.total == pytest.approx(minutes, rel=0.1) or quick.read_steps == most
    assert forecast(COSTS, fitted, looking, **IMAGES).total == pytest.approx(minutes, rel=0.1)


def test_steps_that_are_given_stay_and_a_tiny_budget_still_reads_a_little() -> None:
    given = Beginning(read_steps=77)
    fitted, looking = fit_minutes(20, COSTS, given, Optimisation(steps=33), **COUNTS)
    assert fitted is not None
    assert (fitted.read_steps, looking.steps) == (77, 33)
    fitted, looking = fit_minutes(0.1, COSTS, Beginning(), Optimisation(steps=0), **COUNTS)
    assert fitted is not None
    assert fitted.read_steps > 0 < looking.steps


@pytest.mark.parametrize("images", [2, 12, 60])
@pytest.mark.parametrize("begins", [True, False])
def test_a_tiny_budget_for_few_images_still_makes_a_step_of_each_phase(
    images: int, begins: bool
) -> None:
    beginning = Beginning() if begins else None
    counts = {"images": images, "validation": 2, "patch": 64}
    fitted, looking = fit_minutes(0.02, COSTS, beginning, Optimisation(steps=0), **counts)
    assert looking.steps >= 1
    assert fitted is None or fitted.read_steps >= 1


def test_more_minutes_mean_finer_proposals_or_more_steps() -> None:
    done = []
    for minutes in (5, 8, 10, 12, 15, 20, 40, 80):
        fitted, looking = fit_minutes(minutes, COSTS, Beginning(), Optimisation(steps=0), **COUNTS)
        assert fitted is not None
        done.append((fitted.proposal_megapixels or 32, fitted.read_steps, looking.steps))
    assert done == sorted(done)
    assert {searched for searched, _, _ in done} == {0.27, 32}


@pytest.mark.parametrize(
    ("features", "searched", "patch", "minutes", "expected"),
    [
        (1.0, 1.0, 64, 60, 0),  # 21 minutes for 1264 images, and 5 that stay
        (1.0, 1.0, 64, 48, 0.25),
        (1.0, 1.0, 64, 20, 0.25),
        (1.0, 1.0, 63, 20, 0),  # a patch would have less than 32 px
        (8.0, 8.0, 64, 20, 2.0),
        (8.0, 8.0, 128, 20, 0.5),
        (20.0, 20.0, 40, 20, 5.0),  # more than 16 megapixels, whatever the patch
        (80.0, 250.0, 40, 20, 15.63),
    ],
)
def test_images_are_shrunk_for_proposals_that_take_more_than_half_of_the_time(
    features: float, searched: float, patch: int, minutes: float, expected: float
) -> None:
    costs = replace(COSTS, features=features, searched=searched)
    many = {"images": 1000, "validation": 200}
    beginning, few = Beginning(), Optimisation(steps=0)
    fitted, _ = fit_minutes(minutes, costs, beginning, few, **many, patch=patch)
    assert fitted is not None
    assert fitted.proposal_megapixels == expected
    as_given, _ = fit_minutes(minutes, costs, beginning, few, **many, patch=None)
    assert as_given is not None
    assert as_given.proposal_megapixels == 0


def test_a_plan_says_what_training_would_do_and_leaves_nothing_behind(
    photos: Path, weights: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    sheet = tmp_path / "sheet.png"
    options = ["--encoder", "test_resnet", "--weights", str(weights), "--patch", "32", "--k", "2"]
    assert main(["plan", str(photos), *options, "--minutes", "1", "--sheet", str(sheet)]) == 0
    printed = capsys.readouterr().out
    for word in ("16 images of 2 classes", "patches of 32 px", "proposals", "read", "look"):
        assert word in printed
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    with Image.open(sheet) as picture:
        assert min(picture.size) > 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name your data"),
        (["{photos}", "--nothing", "bird"], "--nothing bird: there is no such class"),
        (["billiards_mini"], "is a recipe"),
        (["nowhere"], "no such folder"),
        (["{photos}", "--minutes", "soon"], "minutes"),
    ],
)
def test_a_mistake_in_a_plan_is_one_line(
    photos: Path, capsys: Any, arguments: list[str], said: str
) -> None:
    assert main(["plan", *(each.format(photos=photos) for each in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_a_network_training_starts_from_scratch_and_says_so(
    photos: Path, capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    source = beginnings.weights_source(Model(encoder="test_resnet"))
    assert not source.pretrained
    assert "random weights" in source.notes[0]
    assert "--weights" in source.notes[0]
    assert main(["plan", str(photos), "--encoder", "test_resnet", "--patch", "32"]) == 0
    assert "random weights" in capsys.readouterr().out


def test_the_class_with_nothing_to_find_is_known_by_its_name_or_given() -> None:
    assert beginnings.nothing_here(Beginning(), ("dent", "ok")).nothing == "ok"
    assert beginnings.nothing_here(Beginning(), ("dent", "scratch")).nothing == ""
    assert beginnings.nothing_here(Beginning(nothing=""), ("dent", "ok")).nothing == ""
    assert beginnings.nothing_here(Beginning(nothing="dent"), ("dent", "ok")).nothing == "dent"
    with pytest.raises(UserError, match=r"--nothing none: there is no such class: .*dent"):
        beginnings.nothing_here(Beginning(nothing="none"), ("dent", "ok"))


def test_training_begins_with_proposals_only_from_pretrained_frozen_features() -> None:
    model = Model(pretrained=True, freeze_scorer=True)
    assert beginnings.possible(Beginning(), model)
    assert not beginnings.possible(Beginning(begin=False), model)
    assert not beginnings.possible(Beginning(), replace(model, pretrained=False))
    assert not beginnings.possible(Beginning(), replace(model, freeze_scorer=False))


def results(right: int, wrong: int, certainty: float = 0.9) -> list[tuple[Result, None]]:
    """As many right and wrong predictions of alternating classes."""
    found: list[tuple[Result, None]] = []
    for number in range(right + wrong):
        truth = "ab"[number % 2]
        label = truth if number < right else "ba"[number % 2]
        shares = {label: certainty, "ab".replace(label, ""): 1 - certainty}
        result = Result(f"{number}.png", label, certainty, shares, [], truth)
        found.append((result, None))
    return found


def test_a_verdict_compares_and_names_sure_mistakes_first() -> None:
    report = summarise(results(90, 10), ("a", "b"))
    good = verdict(report, {"accuracy": 0.6, "balanced_accuracy": 0.6})
    assert good[0].startswith("Better than always answering the commonest class: accuracy 90.0%")
    assert good[1].startswith("Better than a linear classifier that sees the shrunk image")
    assert any(line.strip().startswith("90.png: labelled a, predicted b (90%)") for line in good)
    bad = verdict(report, {"accuracy": 0.97, "balanced_accuracy": 0.97})
    assert bad[1].startswith("No better than a linear classifier")
    assert "ordinary classifier" in bad[-1]


def test_a_verdict_says_where_the_view_as_a_whole_counts() -> None:
    report = summarise(results(90, 10), ("a", "b"))
    said = "small view says as a whole"
    counts = verdict(report, None, {"windows": 0.05, "view": 0.7})
    assert any("0.05" in line and "0.70" in line and said in line for line in counts)
    for mixture in (None, {"windows": 0.7, "view": 0.0}, {"windows": 0.7, "view": 0.05}):
        assert not any(said in line for line in verdict(report, None, mixture))


def test_a_verdict_on_few_images_calls_itself_uncertain_and_doubts_nothing_unsure() -> None:
    lines = verdict(summarise(results(8, 2, certainty=0.6), ("a", "b")), None)
    assert any("only 10 test images" in line for line in lines)
    assert not any("check these labels" in line for line in lines)


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_the_encoder_goes_as_deep_as_the_weights_do(held: int, tmp_path: Path) -> None:
    file = tmp_path / "cut.pt"
    torch.save(Backbone("test_resnet", stage=held).network.state_dict(), file)
    model = Model(view=(64, 64), patch=256, k=2, encoder="test_resnet", weights=file)
    inferred = beginnings.infer_networks(model, (512, 512))
    assert inferred.encoder_stage == held
    assert inferred.scorer_stage == min(held, inferred.scorer_stage)
    assert inferred.encoder_pool == "avgmax"
    scratch = beginnings.infer_networks(replace(model, pretrained=False), (512, 512))
    assert scratch.encoder_pool == "mean"
    whole = beginnings.infer_networks(replace(model, weights=None), (512, 512))
    assert whole.encoder_stage is not None
    assert whole.encoder_stage >= held
