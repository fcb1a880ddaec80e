"""The benchmark on field tasks: cells that are run once, within their minutes, and their table."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import miniatures_field
from foveal.cli.main import main
from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.evaluation import chosen_windows, evaluate
from foveal.field import TASKS
from foveal.field.benchmark import Cell, Common, Method, Results, field
from foveal.field.benchmark.budget import SMALLEST_BATCH, Speed, fine_tuning, plan, train_for
from foveal.field.benchmark.data_sets import SOURCES, prepare
from foveal.field.benchmark.models import DenseEvidence
from foveal.field.benchmark.run import build, run_cell
from foveal.nn.encoders import Backbone
from foveal.settings import Optimisation

SMALL = Common(encoder="test_resnet", encoder_stage=1, minutes=0.0, batch=4, patch=32, k=2)
OPTIONS = [
    *("--encoder", "test_resnet", "--encoder-stage", "1", "--batch", "4", "--patch", "32"),
    *("--k", "2", "--minutes", "0.02", "--accelerator", "cpu"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures_field.coloured(tmp_path_factory.mktemp("coloured") / "squares")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several") / "squares"
    return miniatures_field.coloured(root, multilabel=True)


@given(
    image=st.floats(1e-3, 100),
    validation=st.floats(0, 300),
    seconds=st.floats(-10, 4000),
    batch=st.integers(1, 64),
)
def test_a_plan_fits_into_its_time(
    image: float, validation: float, seconds: float, batch: int
) -> None:
    planned = plan(Optimisation(batch=batch, accumulate=batch), Speed(image, validation), seconds)
    validations = math.ceil(planned.steps / planned.validate_every)
    needed = planned.steps * planned.batch * image + validations * validation
    assert planned.steps == 1 or needed <= seconds + 1e-6
    assert validations * validation <= max(0.15 * seconds, validation) + 1e-6
    assert planned.batch == batch or planned.batch >= SMALLEST_BATCH
    assert planned.accumulate == planned.batch  # single images still go through the network


def test_training_ends_with_the_weights_that_validated_best(table: Path) -> None:
    splits = read_folder(table)
    torch.manual_seed(0)
    model, pixels = build("whole-448", splits, SMALL)
    rows = train_for(0.05, model, splits, fine_tuning(splits, 4, pixels), seed=0)
    losses = [row["validation_loss"] for row in rows if row["validation_loss"] is not None]
    assert evaluate(model, splits.validation).loss == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("labels", ["table", "several"])
def test_every_method_trains_at_least_a_step_and_is_judged(
    method: Method, labels: str, request: pytest.FixtureRequest
) -> None:
    cell = Cell("squares", 0, method, 0, SMALL.minutes)
    row = run_cell(cell, request.getfixturevalue(labels), SMALL)
    assert (row["task"], row["method"], row["n"]) == ("squares", method, 6)
    assert row["steps"] >= 1 if method == "foveal" else row["steps"] == 1
    assert 0 <= row["accuracy"] <= 1
    assert 0 <= row["auroc"] <= 1
    assert row["images_per_second"] > 0
    if method.startswith("whole"):
        assert row["hit_rate"] is row["chance_hit_rate"] is None
    else:
        assert 0 <= row["hit_rate"] <= 1
        assert 0 < row["chance_hit_rate"] < 1
    json.dumps(row, allow_nan=False)


def test_random_windows_hit_as_often_as_chance_says(table: Path) -> None:
    """Over many seeds; the tolerance is for cells at the border, whose windows overhang."""
    splits = read_folder(table)
    model, _ = build("random", splits, SMALL)
    hits, chances = [], []
    for seed in range(40):
        model.select.seed = seed
        report = evaluate(model, splits.train)
        hits.append(report.hit_rate)
        chances.append(report.chance_hit_rate)
    assert sum(hits) / 40 == pytest.approx(sum(chances) / 40, abs=0.06)


def test_dense_logits_are_the_mean_of_the_best_cells() -> None:
    torch.manual_seed(0)
    model = DenseEvidence(
        encoder=Backbone("test_resnet", stage=1), classes=3, patch=(32, 32), k=2
    ).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        cells = model.head(model.encoder.maps(images)).flatten(2)
        logits = model(images).logits
        assert torch.equal(model(list(images)).logits, logits)
    for b in range(2):
        for c in range(3):
            best = sorted(cells[b, c].tolist())[-4:]
            assert float(logits[b, c]) == pytest.approx(sum(best) / 4, abs=1e-5)


@pytest.mark.parametrize("place", [(20, 30), (100, 150), (60, 88)])
def test_the_best_dense_window_lies_on_the_evidence(place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = DenseEvidence(
        encoder=Backbone("test_resnet", stage=1), classes=2, patch=(32, 32), k=1
    ).eval()
    image = torch.zeros(1, 3, 128, 192)
    image[:, :, place[0] - 6 : place[0] + 6, place[1] - 6 : place[1] + 6] = 1
    with torch.no_grad():  # class 0: what is unlike black
        black = model.encoder.maps(torch.zeros(1, 3, 128, 192))[0, :, 8, 8]
        maps = model.encoder.maps(image)[0].flatten(1)  # (D, cells)
        unlike = maps[:, (maps - black[:, None]).norm(dim=0).argmax()] - black
        model.head.weight.zero_()
        model.head.weight[0, :, 0, 0] = unlike
        model.head.bias.copy_(torch.tensor([-float(unlike @ black), 0.0]))
        top, left, bottom, right = chosen_windows(model(image))[0, 0].tolist()
    assert (bottom - top, right - left) == (32, 32)
    assert abs((top + bottom) / 2 - place[0]) <= 10
    assert abs((left + right) / 2 - place[1]) <= 10


def row(**changes: object) -> dict[str, object]:
    values = {
        **Cell("boards", 0, "ips", 0, 20.0)._asdict(),
        "accuracy": 0.5,
        "balanced_accuracy": 0.25,
        "auroc": 0.75,
        "hit_rate": 0.5,
        "chance_hit_rate": 0.1,
        "minutes": 19.8,
        "images_per_second": 3.21,
        "hardware": "a CPU",
    }
    return values | changes


def test_a_line_that_was_cut_short_is_as_if_never_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.jsonl"
    Results.append(file, row())
    Results.append(file, row(seed=1))
    whole = file.read_bytes()
    for length in range(len(json.dumps(row())) + 1, len(whole)):
        file.write_bytes(whole[:length])
        assert {cell.seed for cell in Results.read(file).cells} == {0}
        Results.append(file, row(seed=1))
        assert file.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for content, message in (
        ('{"task": \n', "line 1: damaged"),
        ("3\n", "line 1: damaged"),
        ('{"task": "boards"}\n', "line 1: no fold"),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            Results.read(file)
    with pytest.raises(UserError, match="cannot be read"):
        Results.read(tmp_path / "none.jsonl")


def test_the_table_shows_the_median_and_the_worst() -> None:
    runs = [row(seed=seed, accuracy=share) for seed, share in enumerate((0.9, 0.4, 0.6))]
    whole = row(method="whole-448", hit_rate=None, chance_hit_rate=None)
    lines = str(Results((*runs, whole))).splitlines()
    assert lines[2] == (
        "| boards | 20 | ips | 60.0 (40.0) | 25.0 (25.0) | 75.0 (75.0) | 50.0 (50.0) | 10.0 "
        "| 19.8 | 3.21 | 3 |"
    )
    assert lines[3] == "| boards | 20 | whole-448 | 50.0 | 25.0 | 75.0 |  |  | 19.8 | 3.21 | 1 |"
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")


def test_finished_cells_are_skipped(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*seeds: int) -> list[str]:
        words = ["benchmark", "field", "--tasks", str(table), "--output", str(tmp_path)]
        words += ["--methods", "random", "whole-448", "--seeds", *map(str, seeds), *OPTIONS]
        assert main(words) == 0
        return (tmp_path / "results.jsonl").read_text().splitlines()

    first = run(0)
    assert [json.loads(line)["method"] for line in first] == ["random", "whole-448"]
    assert "| squares | 0.02 | random |" in capsys.readouterr().out
    assert run(0) == first
    assert "begins" not in capsys.readouterr().err
    # a process that was killed in the last cell of the second seed
    second = run(0, 1)
    assert second[:2] == first
    (tmp_path / "results.jsonl").write_text("\n".join(second)[:-9])
    capsys.readouterr()
    third = run(0, 1)
    assert third[:3] == second[:3]
    assert len(third) == 4
    assert capsys.readouterr().err.count("begins") == 1
    assert main(["benchmark", "field", "--table", str(tmp_path / "results.jsonl")]) == 0
    assert "(" in capsys.readouterr().out.splitlines()[2]  # two runs have a worst


def test_a_field_task_is_written_once_and_its_source_is_needed(tmp_path: Path) -> None:
    sources = {"bsdata": miniatures_field.bsdata(tmp_path / "sources" / "bsdata")}
    (data,) = prepare("screws", 3)
    with pytest.raises(UserError, match="needs --sources"):
        data.check(None)
    with pytest.raises(UserError, match="no folder bsdata"):
        data.check(sources["bsdata"])
    data.check(tmp_path / "sources")
    labels = data.labels(tmp_path / "data", tmp_path / "sources")
    assert labels == tmp_path / "data" / "screws-3" / "labels.csv"
    before = labels.stat().st_mtime_ns
    assert data.labels(tmp_path / "data", tmp_path / "sources") == labels
    assert labels.stat().st_mtime_ns == before


def test_tasks_without_folds_have_one(table: Path) -> None:
    for fold in range(2):
        assert (
            len(list(prepare("digits", fold))) == len(list(prepare(str(table), fold))) == 1 - fold
        )
        assert len(list(prepare("boards", fold))) == 1
    assert set(SOURCES) == set(TASKS) - {"balls"}


@pytest.mark.usefixtures("unchecked")
def test_wrong_names_and_folds_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean boards"):
        field(tasks=("board",), output=tmp_path)
    with pytest.raises(UserError, match="--methods deep: choose foveal"):
        field(methods=("deep",), output=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--fold 5: choose 0 to 4"):
        field(folds=(0, 5), sources=tmp_path, output=tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_cell_that_cannot_be_run_does_not_stop_the_others(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = field(
        tasks=(str(table),),
        methods=("random", "whole-448"),
        seeds=(0,),
        output=tmp_path,
        common=replace(SMALL, k=10_000),
    )
    assert [each["method"] for each in found.rows] == ["whole-448"]
    assert "k must not exceed the number of windows" in capsys.readouterr().err
