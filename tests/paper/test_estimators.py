"""The comparison of the estimators: its figures are what they are called, and show the fault."""

import csv
import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

import reference
from foveal import models, nn
from foveal.cli.main import main
from foveal.paper import benchmark
from foveal.paper.benchmark import gradients
from foveal.paper.benchmark.estimates import FIGURE, TABLE, TURNING, Estimates
from foveal.paper.benchmark.plots import spread
from foveal.topk import Selection

SMALL = {"candidates": 36, "k": 4, "samples": (20, 400), "draws": 20, "pictures": 2}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Estimates, Path]:
    folder = tmp_path_factory.mktemp("estimators") / "new"
    return benchmark.estimators(**SMALL, problems=4, output=folder), folder


def test_every_estimator_is_judged_in_every_case_with_every_number_of_samples(
    written: tuple[Estimates, Path],
) -> None:
    found = {(row.case, row.estimator, row.samples) for row in written[0].rows}
    assert len(found) == len(written[0].rows) == 3 * 5 * 2
    values = {"constant": gradients.CONSTANTS, "brightness": gradients.BRIGHTNESSES}
    for swept, each in values.items():
        turning = written[0].turning(swept)
        assert list(turning) == list(gradients.ESTIMATORS)
        assert all(tuple(at for at, _ in points) == each for points in turning.values())


def test_a_constant_turns_the_diagonal_away_and_no_other(written: tuple[Estimates, Path]) -> None:
    cosines = {
        name: [cosine for _, cosine in points]
        for name, points in written[0].turning("constant").items()
    }
    assert min(cosines["exact"]) > 1 - 1e-9  # float32
    assert min(cosines["conditional"]) > 0.97
    steps = [cosines["diagonal"][gradients.CONSTANTS.index(at)] for at in (0, 1, 2, 5)]
    assert all(later < earlier - 0.05 for earlier, later in pairwise(steps))
    assert abs(cosines["diagonal"][-1]) < 0.2
    # What is left is noise, of a few draws.
    for name in ("score_function", "diagonal_centred"):
        assert abs(cosines[name][-1] - cosines[name][0]) < 0.15


def test_brightness_leaves_exact_and_conditional_as_they_are(
    written: tuple[Estimates, Path],
) -> None:
    turning = written[0].turning("brightness")
    assert min(cosine for _, cosine in turning["exact"]) > 1 - 1e-9
    assert min(cosine for _, cosine in turning["conditional"]) > 0.97


def test_only_the_diagonals_are_found_biased(written: tuple[Estimates, Path]) -> None:
    most = max(SMALL["samples"])
    rows = [row for row in written[0].rows if row.samples == most]
    for row in rows:
        if row.estimator in ("conditional", "score_function"):
            assert row.bias is None
            assert row.distance < 2 * row.error
        elif row.estimator == "exact":
            assert row.distance < 1e-5  # float32
        else:
            assert row.bias is not None
            assert row.bias > 0.2


def test_more_samples_deviate_by_the_root_less(written: tuple[Estimates, Path]) -> None:
    rows = {(row.case, row.estimator, row.samples): row for row in written[0].rows}
    few, many = SMALL["samples"]
    for (case, name, samples), row in rows.items():
        if name != "exact" and samples == few:
            ratio = row.deviation / rows[case, name, many].deviation
            # The centre of diagonal_centred, and the baseline, are samples too.
            assert ratio == pytest.approx(math.sqrt(many / few), rel=0.2)


def test_the_files_hold_the_same_figures(written: tuple[Estimates, Path]) -> None:
    found, folder = written
    assert sorted(each.name for each in folder.iterdir()) == sorted((TABLE, TURNING, FIGURE))
    with (folder / TABLE).open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["cosine"]) for row in rows] == [row.cosine for row in found.rows]
    assert [row["bias"] for row in rows] == [
        "" if row.bias is None else str(row.bias) for row in found.rows
    ]
    with (folder / TURNING).open() as file:
        turns = list(csv.DictReader(file))
    assert [float(turn["cosine"]) for turn in turns] == [turn.cosine for turn in found.turns]
    assert (folder / FIGURE).read_text().startswith("<?xml")
    printed = str(found)
    for word in ("score function", "< ", "conditional samples", "brightness", *SMALL):
        assert word in printed


def test_the_same_seed_gives_the_same_figures_and_leaves_other_randomness_alone() -> None:
    tiny = SMALL | {"samples": (4,), "draws": 2, "pictures": 1, "problems": 1}
    before = torch.get_rng_state()
    first, again, other = (benchmark.estimators(**tiny, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.rows, first.turns) == (again.rows, again.turns)
    pairs = zip(first.rows, other.rows, strict=True)
    assert all(a.cosine != b.cosine for a, b in pairs if a.estimator != "exact")


def test_the_same_figures_are_the_same_files(
    written: tuple[Estimates, Path], tmp_path: Path
) -> None:
    written[0].write(tmp_path)
    for file in (TABLE, TURNING, FIGURE):
        assert (tmp_path / file).read_bytes() == (written[1] / file).read_bytes()


def test_the_gradient_is_that_of_the_enumeration() -> None:
    case = gradients.cases(18, 2, 2, 0)[1]
    found = gradients.slopes(case.scores, case.incoming, 0.1, "exact", 1, 0)
    for scores, incoming, slope in zip(case.scores, case.incoming, found, strict=True):
        truth = reference.gradient(scores, 2, 0.1, incoming)
        torch.testing.assert_close(slope * 0.1, truth * 0.1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_bias_and_deviation_of_known_draws_are_found(bias: float) -> None:
    """Two problems, whose truths have different lengths, and noise of unequal axes."""
    problems, draws, n, deviation = 2, 400, 30, 2.0
    source = torch.Generator().manual_seed(0)
    truth = torch.randn(problems, 1, n, generator=source, dtype=torch.float64)
    truth = truth / truth.norm(dim=2, keepdim=True) * torch.tensor([1.0, 7.0])[:, None, None]
    aside = torch.randn(problems, 1, n, generator=source, dtype=torch.float64)
    aside = bias * aside / aside.norm(dim=2, keepdim=True)
    axes = torch.linspace(0, 1, n, dtype=torch.float64)
    axes = deviation * axes / axes.norm()
    noise = torch.randn(problems, draws, n, generator=source, dtype=torch.float64) * axes
    drawn = truth + truth.norm(dim=2, keepdim=True) * (aside + noise)
    found = gradients._judged("known", "conditional", 1, drawn, truth)
    # Of 800 draws with some 20 free axes: 1 % or so.
    assert found.deviation == pytest.approx(deviation, rel=0.03)
    assert found.error == pytest.approx(deviation / math.sqrt(draws), rel=0.03)
    if bias:
        assert found.bias == pytest.approx(bias, abs=0.05)
    else:
        assert found.bias is None
        assert 0 < found.least < 0.1


def test_a_brightened_pictures_g_is_the_models_own_gradient_to_the_weights() -> None:
    source = torch.Generator().manual_seed(0)
    pixels, label = torch.rand(1, 3, 64, 64, generator=source), torch.tensor([1])

    class Fixed(torch.nn.Module):
        """A selection that keeps its weights."""

        k = 2
        weights: Tensor = torch.zeros(0)

        def forward(self, scores: Tensor) -> Selection:
            every = torch.arange(scores.shape[1])[None]
            self.weights = torch.zeros(1, 2, scores.shape[1]).index_fill(2, torch.tensor(5), 1.0)
            self.weights.requires_grad_()
            return Selection(every, self.weights)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.PatchClassifier(
            scorer=nn.scorers.ConvScorer(),
            select=Fixed(),
            encoder=nn.encoders.ThinResNet(),
            aggregate=nn.aggregators.mean,
            classes=3,
            view=(40, 40),
            patch=(12, 12),
        )
    # The two fixed windows are one, so that batch normalisation does nothing new the second time.
    sweep = gradients._seen(model, 0, pixels, label)
    loss = cross_entropy(model(pixels).logits, label)
    (truth,) = torch.autograd.grad(loss, model.select.weights)
    dark, bright = (sweep.incoming[sweep.values.index(value)] for value in (0.0, 1.0))
    found = dark + pixels.mean() * (bright - dark)  # as it is painted
    torch.testing.assert_close(found.float(), truth[0], rtol=1e-4, atol=1e-5 * truth.abs().max())


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5).map(lambda each: sorted(each, reverse=True))
)
def test_names_keep_their_order_and_do_not_touch(heights: list[float]) -> None:
    placed = spread(heights, 0.1)
    assert placed[0] <= 1 + 1e-9
    gaps = [upper - lower for upper, lower in pairwise(placed)]
    assert all(gap > 0.1 - 1e-6 for gap in gaps)
    apart = [upper - lower for upper, lower in pairwise(heights)]
    if all(gap >= 0.1 for gap in apart):
        assert placed == pytest.approx(heights)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--draws", "1"], "draws 2 or more"),
        (["--samples", "0"], "samples must be 1 or more"),
        (["--k", "400"], "k at most a third of them: got candidates 900, k 400"),
    ],
)
def test_a_mistake_is_one_line(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "estimators", *wrong]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_it_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--candidates", "16", "--k", "2", "--samples", "2", "--draws", "2"]
    asked = ["benchmark", "estimators", *small, "--problems", "1", "--pictures", "1", "--json"]
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "estimators"
    assert len(told["rows"]) == 15
