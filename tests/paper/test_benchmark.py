"""The benchmark compares like with like, and gives every figure. No time is judged here."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import reference
from foveal.errors import UserError
from foveal.paper import benchmark
from foveal.paper.benchmark import baselines, clock, growth, peak, tasks, wirings
from foveal.paper.benchmark.costs import MODELS as NAMES
from foveal.windows import regular

SELECTION = {
    "batch": 2,
    "candidates": 20,
    "k": 3,
    "samples": 400,
    "sigma": 0.1,
    "estimators": ("exact", "conditional", "score_function", "diagonal", "diagonal_centred"),
}
EXTRACTION = {
    "batch": 2,
    "channels": 3,
    "image": (30, 26),
    "stride": 5,
    "patch": (9, 7),
    "k": 3,
    "sigma": 0.05,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_plain_selection_is_the_mean_of_one_hots() -> None:
    scores = torch.rand(2, 9, generator=seeded(0), dtype=torch.float64)
    noise = torch.randn(2, 30, 9, generator=seeded(1), dtype=torch.float64)
    counts = torch.zeros(2, 3, 9, dtype=torch.float64)
    for b in range(2):
        for sample in noise[b]:
            order = sorted(range(9), key=lambda i: -(scores[b] + 0.1 * sample)[i].item())
            for slot, number in enumerate(sorted(order[:3])):
                counts[b, slot, number] += 1
    found = baselines.selection(scores, 3, 0.1, 30, seeded(1))
    torch.testing.assert_close(found, counts / 30)


def test_the_plain_selection_has_the_papers_gradient() -> None:
    scores = torch.rand(5, generator=seeded(0), dtype=torch.float64)
    incoming = torch.randn(2, 5, generator=seeded(1), dtype=torch.float64)
    leaf = scores.expand(500, 5).clone().requires_grad_()
    (baselines.selection(leaf, 2, 0.2, 100, seeded(2)) * incoming).sum().backward()
    assert leaf.grad is not None
    error = leaf.grad.std(dim=0) / math.sqrt(500)
    truth = reference.diagonal(scores, 2, 0.2, incoming)
    assert ((leaf.grad.mean(dim=0) - truth).abs() <= 4 * error).all()


def test_the_plain_extraction_is_the_dense_sum() -> None:
    images = torch.rand(2, 3, 20, 17, generator=seeded(0), dtype=torch.float64)
    weights = torch.rand(2, 3, 12, generator=seeded(1), dtype=torch.float64)
    places = regular((20, 17), (4, 3), (9, 8))
    truth = reference.extract(list(images), places.expand(2, 12, 4), weights, (9, 8))
    torch.testing.assert_close(baselines.extraction(images, places, weights), truth)


def test_every_estimator_is_set_the_plain_ones_task() -> None:
    runs = tasks.runs("selection", SELECTION, "cpu")
    assert [name for name in runs if name not in tasks.PEERS] == [
        *SELECTION["estimators"],
        tasks.EXACT_EAGER,
        tasks.PLAIN,
    ]
    values = {name: run() for name, run in runs.items()}
    exact = values["exact"]
    error = (exact * (1 - exact) / 400).sqrt()  # of 400 samples
    for value in values.values():
        assert ((value - exact).abs() <= 5 * error + 2 / 400).all()


def test_extraction_is_set_the_plain_ones_task() -> None:
    runs = tasks.runs("extraction", EXTRACTION, "cpu")
    assert [name for name in runs if name != tasks.ROI_ALIGN] == [
        "extract",
        tasks.EAGER,
        tasks.PLAIN,
    ]
    truth = runs[tasks.PLAIN]()
    for run in runs.values():
        torch.testing.assert_close(run(), truth)


@pytest.mark.parametrize("task", ["selection", "extraction"])
def test_the_table_has_all_its_figures(task: str) -> None:
    if task == "selection":
        settings = SELECTION | {"estimators": ("exact",), "candidates": 1000}
        table = benchmark.selection(**settings, repeats=2)
        assert table.rows[-1].megabytes is not None
        kept = 2 * 400 * 3 * 1000 * 4 / 1e6  # one-hots (B, S, K, N) of float32
        # at first they are integers, twice as long; there is the noise, and its sum with the scores
        assert kept <= table.rows[-1].megabytes < 6 * kept
    else:
        settings = EXTRACTION
        table = benchmark.extraction(**settings, repeats=2)
    assert table.settings == settings
    assert [row.name for row in table.rows] == list(tasks.names(task, settings))
    for row in table.rows:
        assert row.seconds is not None
        assert row.seconds > 0
        assert row.megabytes is not None
        assert row.megabytes >= 0
        assert row.difference is not None
        assert row.difference < 0.2
    rows = json.loads(json.dumps(table.summary()))["rows"]
    ours, theirs = rows[0], rows[-1]
    assert ours["times_faster"] == pytest.approx(theirs["seconds"] / ours["seconds"])
    printed = str(table)
    for word in (task, "seconds", "MB", "1 threads", torch.__version__, *settings):
        assert word in printed


STEP = {"batch": 2, "size": 96, "view": 40, "patch": 32, "k": 2, "encoder": "resnet10t"}


def test_a_step_tells_the_share_of_selection_and_extraction() -> None:
    table = benchmark.step(**STEP, repeats=1)
    names = ["step", "its selection and extraction", "step, hard selection"]
    assert [row.name for row in table.rows] == names
    whole, part, _ = table.rows
    assert whole.seconds is not None
    assert part.seconds is not None
    share = 100 * part.seconds / whole.seconds
    assert f"take {share:.1f} % of the step" in str(table)
    assert f"{table.rows[0].megabytes / table.rows[2].megabytes:.2f} x" in str(table)


MODELS = {"size": 96, "downscale": 4, "patch": 32, "k": 2, "encoder": "resnet10t"}


def test_a_models_row_has_all_its_figures() -> None:
    costs = benchmark.models(**MODELS, batch=2, models=("max",), repeats=1, threads=1)
    (row,) = costs.rows
    printed = str(costs)
    assert "| PatchClassifier, max |" in printed
    for cost in (row.training, row.inference):
        assert cost.seconds is not None
        assert cost.seconds > 0
        assert cost.images_per_second == pytest.approx(2 / cost.seconds)
        for figure in (cost.seconds, cost.megabytes, cost.images_per_second):
            assert f"| {figure:.4g} |" in printed
    weights = sum(p.numel() for p in wirings.build_model("max", **MODELS).parameters())
    assert row.training.megabytes is not None
    # gradients and two moments in float32; some pages may be there before
    assert row.training.megabytes > 0.9 * 3 * 4 * weights / 1e6
    assert row.inference.megabytes is not None
    assert 0 <= row.inference.megabytes < row.training.megabytes / 2
    summary = json.loads(json.dumps(costs.summary()))
    assert summary["rows"][0]["training"]["seconds"] == row.training.seconds


def test_every_model_learns_and_answers() -> None:
    names = tuple(NAMES)
    settings = MODELS | {"batch": 2, "models": names}
    runs = tasks.runs("models", settings, "cpu")
    assert len(runs) == 2 * len(names)
    for name in names:
        training, inference = (runs[f"{name} {how}"] for how in ("training", "inference"))
        before = inference()
        torch.testing.assert_close(inference(), before)
        assert training().shape == before.shape == (2, wirings.CLASSES)
        assert not torch.allclose(inference(), before)  # the step was taken


def test_a_model_alone_is_the_same_model() -> None:
    settings = MODELS | {"batch": 2, "models": ("max", "whole")}
    side = "whole inference"
    alone = tasks.runs("models", tasks.alone("models", side, settings), "cpu")
    assert list(alone) == ["whole training", side]
    torch.testing.assert_close(alone[side](), tasks.runs("models", settings, "cpu")[side]())


def test_sizes_that_do_not_fit_a_model_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="transformer: k must not exceed"):
        benchmark.models(**MODELS | {"k": 5})
    with pytest.raises(UserError, match="size 96: k must not exceed"):
        benchmark.speed(sizes=(96,), k=5, encoders=("resnet10t",))
    with pytest.raises(UserError, match="must be 1 or more: got 4, 4, 100, 0, 2"):
        benchmark.models(repeats=0)
    with pytest.raises(UserError, match=r"models must be some of .*: got \[\]"):
        benchmark.models(models=())
    with pytest.raises(UserError, match="sizes and encoders at least one"):
        benchmark.speed(sizes=())


def test_without_noise_the_soft_patches_are_the_hard_ones() -> None:
    settings = {"batch": 2, "size": 120, "downscale": 4, "patch": 32, "k": 2}
    estimators, encoders = ("exact", "diagonal"), ("resnet10t",)
    found = {}
    for sigma in (0.0, 0.2):
        runs = wirings.predictions(
            "cpu", **settings, sigma=sigma, estimators=estimators, encoders=encoders
        )
        found[sigma] = {name.split(", ")[-1]: run() for name, run in runs.items()}
    assert list(found[0.0]) == ["hard", "exact", "diagonal", "whole image"]
    for estimator in estimators:
        torch.testing.assert_close(found[0.0][estimator], found[0.0]["hard"])
        assert not torch.allclose(found[0.2][estimator], found[0.2]["hard"])


def test_speed_is_measured_and_drawn_over_the_side(tmp_path: Path) -> None:
    found = benchmark.speed(
        sizes=(96, 128),
        patch=32,
        k=2,
        batch=3,
        estimators=("exact",),
        encoders=("resnet10t",),
        repeats=1,
        threads=1,
        output=tmp_path,
    )
    networks = [f"resnet10t, {each}" for each in ("patches, hard", "patches, exact", "whole image")]
    assert [(point.size, point.network) for point in found.points] == [
        (size, network) for size in (96, 128) for network in networks
    ]
    for point in found.points:
        assert point.images_per_second == pytest.approx(3 / point.seconds)
        assert f"| {point.images_per_second:.4g} |" in str(found)
    assert "| 128 | 12% |" in str(found)  # two patches of 32 x 32 px
    assert json.loads(json.dumps(found.summary()))["points"][0]["size"] == 96
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_costs_are_measured_and_drawn_over_what_is_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = {
        "patches k": ("selection", "k", (2, 3)),
        "size of the image in px": ("extraction", "image", (180, 200)),
    }
    monkeypatch.setattr(growth, "VARIED", smaller)
    monkeypatch.setattr(growth, "SELECTION", growth.SELECTION | {"candidates": 50, "samples": 9})
    found = benchmark.scaling(output=tmp_path, varied=tuple(smaller), repeats=1, gigabytes=1e-5)
    sides = {(point.varied, point.value): [] for point in found.points}
    for point in found.points:
        sides[point.varied, point.value].append(point.variant)
        assert point.seconds is not None
        assert f"| {point.varied} | {point.value} | {point.variant} |" in str(found)
    assert sides["patches k", 3] == ["exact", "exact, PyTorch only"]  # the plain one is too large
    assert sides["size of the image in px", 200] == ["extract", "extract, PyTorch only"]
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    task, settings = growth.settings("size of the image in px", 200)
    patches = 7 * 7 * 3 * 100 * 100 * 4  # 7 x 7 places at stride 16
    assert growth.bytes_of_plain(task, settings) == patches


def test_a_failure_in_the_fresh_process_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"magic with exact failed(.|\n)*KeyError"):
        peak.fresh("magic", "exact", SELECTION, 1)


def test_what_does_not_fit_is_a_row_without_figures() -> None:
    rows = (
        benchmark.Measurement("exact", 0.5, 10.0, None),
        benchmark.Measurement("plain", None, None, None),
    )
    table = benchmark.Comparison("selection", SELECTION, "a machine", rows)
    assert table.summary()["rows"][0]["times_faster"] is None
    assert "-" in str(table).splitlines()[-3]


def test_importing_it_does_not_import_torch() -> None:
    program = "import sys, foveal.paper.benchmark; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.strip() == "False", ended.stderr


def test_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with clock.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_part_of_a_step_is_timed_for_every_batch(precision: Any) -> None:
    sizes = {"image": (64, 96), "view": (32, 48), "patch": 16, "k": 2, "encoder_stage": 1}
    found = benchmark.shares(
        batches=(1, 2), encoder="test_resnet", precision=precision, repeats=2, **sizes
    )
    named = {(row.batch, row.part) for row in found.rows}
    assert len(named) == len(found.rows) == 2 * 10
    assert all(row.seconds is not None and row.seconds > 0 for row in found.rows)
    assert len(str(found).splitlines()) == 2 + 2 + 20 + 2
