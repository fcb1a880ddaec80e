"""Differentiable Top-K operators: rows are mixtures, the limit is hard, and figures are there."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from foveal.cli.main import main
from foveal.errors import UserError
from foveal.paper.benchmark.operator_training import train_operators
from foveal.paper.nn.selectors import Relaxed
from foveal.paper.operators import OPERATORS, OperatorName, select, why_absent
from foveal.paper.operators.sharpness import gap, mixed, softness_at, uniform
from foveal.runs import load

TINY = {"train": 12, "validation": 6, "test": 6, "batch": 4, "steps": 4, "widths": (4, 4, 4, 4)}
SMALL = ["--candidates", "20", "40", "--k", "3", "--batch", "2", "--repeats", "1"]
SMALL += ["--mixtures", "2", "4"]


def operator(name: str) -> object:
    why = why_absent(name)
    return pytest.param(name, marks=pytest.mark.skipif(why is not None, reason=f"{name}: {why}"))


every_operator = pytest.mark.parametrize("name", [operator(name) for name in OPERATORS])


def dense(
    name: OperatorName, scores: Float[Tensor, "B N"], k: int, softness: float
) -> Float[Tensor, "B K N"]:
    noise = torch.Generator().manual_seed(1)
    return select(name, scores, k, softness, noise).dense(scores.shape[1])


def apart(batch: int = 3, n: int = 12) -> Float[Tensor, "B N"]:
    """Scores in [0, 1] in random order, evenly apart, and no two of them too near."""
    source = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(n, generator=source) / (n - 1) for _ in range(batch)])


@every_operator
@pytest.mark.parametrize("softness", [0.02, 0.1])
def test_every_slot_is_a_mixture_of_candidates(name: OperatorName, softness: float) -> None:
    rows = dense(name, uniform(3, 14), 4, softness)
    assert rows.shape == (3, 4, 14)
    assert rows.min() >= -1e-6
    torch.testing.assert_close(rows.sum(dim=2), torch.ones(3, 4), rtol=0, atol=1e-5)


@every_operator
def test_as_softness_falls_the_slots_become_those_of_torch(name: OperatorName) -> None:
    scores, k = apart(), 4
    best = scores.topk(k, dim=1).indices
    best = best if OPERATORS[name].by_score else best.sort(dim=1).values
    truth = torch.nn.functional.one_hot(best, 12).float()
    # Cauchy's law, of the networks, has heavy tails
    softnesses = (0.3, 0.03, 3e-5 if name == "network" else 3e-3)
    off = [float((dense(name, scores, k, soft) - truth).abs().max()) for soft in softnesses]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 1e-2  # sweeps of a transport end before they have converged
    assert torch.equal(dense(name, scores, k, 0), truth)


@every_operator
def test_a_gradient_raises_what_was_asked_for(name: OperatorName) -> None:
    """The gradient of the weight of the second best candidate, in all slots, to its own score."""
    scores = uniform(2, 10).requires_grad_()
    wanted = scores.detach().topk(3, dim=1).indices[:, 2:]
    soft = softness_at(name, 2.0, 10, 2)
    weight = dense(name, scores, 2, soft).sum(dim=1).gather(1, wanted)
    weight.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    raised = scores.grad.gather(1, wanted)
    # weights of budget sparsemax that are 0 or 1 do not change
    assert (raised >= 0).all() if name == "budget" else (raised > 0).all()
    assert (raised > 0).any()


@pytest.mark.parametrize("name", ["softsort", "neuralsort", "lapsum", "dftopk"])
@pytest.mark.parametrize("softness", [0.05, 0.5])
def test_the_gradient_is_that_of_finite_differences(name: OperatorName, softness: float) -> None:
    scores = uniform(2, 7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: dense(name, leaf, 3, softness), scores)


@pytest.mark.parametrize("softness", [1e-3, 0.05, 1.0, 30.0])
def test_lapsum_is_the_difference_of_masks_of_sum_one_and_so_on(softness: float) -> None:
    """The oracle finds each threshold by bisection."""
    (x,) = uniform(1, 9).double()
    before = torch.zeros(9, dtype=torch.float64)
    for slot, row in enumerate(dense("lapsum", x[None], 4, softness)[0]):
        low, high = x.min() - 100 * softness, x.max() + 100 * softness
        for _ in range(200):
            b = (low + high) / 2
            away = (x - b) / softness
            mask = torch.where(away < 0, away.exp() / 2, 1 - (-away).exp() / 2)
            low, high = (b, high) if mask.sum() > slot + 1 else (low, b)
        torch.testing.assert_close(row, mask - before, rtol=0, atol=1e-9)
        before = mask


def test_neuralsort_is_its_definition() -> None:
    (x,) = uniform(1, 9).double()
    sums = (x[:, None] - x).abs().sum(dim=1)
    for slot, row in enumerate(dense("neuralsort", x[None], 5, 0.07)[0]):
        expected = (((9 + 1 - 2 * (slot + 1)) * x - sums) / 0.07).softmax(dim=0)
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("ours", ["softsort", "neuralsort"])
def test_the_operators_of_softtorch_are_those_by_hand(ours: OperatorName) -> None:
    pytest.importorskip("softtorch", reason="SoftTorch is not installed")
    found = dense(f"softtorch_{ours}", uniform(2, 9), 3, 0.03)
    atol = 0.1 if ours == "neuralsort" else 1e-5  # its distances are softened, too
    torch.testing.assert_close(found, dense(ours, uniform(2, 9), 3, 0.03), rtol=0, atol=atol)


@every_operator
def test_softness_is_found_by_how_many_candidates_slots_mix(name: OperatorName) -> None:
    soft = softness_at(name, 3.0, 20, 2)
    scores = uniform(4, 20)  # those that it is found on
    if OPERATORS[name].sharp_as is not None:  # its mixtures are hard already
        assert gap(name, scores, 2, soft) == pytest.approx(0, abs=1e-6)
        return
    assert mixed(name, scores, 2, soft) == pytest.approx(3, rel=0.02)
    assert 0.2 < gap(name, scores, 2, soft) < 1
    assert mixed(name, scores, 2, 0) == 1


def test_what_is_not_installed_is_a_row_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = replace(OPERATORS["pot"], packages=("no_such_package",), python=(9, 9))
    monkeypatch.setitem(OPERATORS, "pot", absent)
    with pytest.raises(UserError, match=r"pot: no_such_package not installed.*extra operators"):
        Relaxed("pot", 2, sigma=0.1)
    page = benchmark(tmp_path, capsys, "--operators", "pot", "--seeds", "0")
    assert "| pot | no_such_package not installed, which says that it takes Python 9.9 |" in page


def benchmark(output: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["benchmark", "operators", "--output", str(output), *SMALL, *more]) == 0
    return capsys.readouterr().out


def test_the_command_measures_every_figure_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--operators", "exact", "straight_through", "--seeds", "0", "--json")
    found = json.loads(benchmark(tmp_path, capsys, *asked))
    for row in found["rows"]:
        assert set(row["costs"]) == {"20", "40"}
        assert all(cost["seconds"] > 0 <= cost["megabytes"] for cost in row["costs"].values())
        assert set(row["gaps"]) == {"2.0", "4.0"}
    exact, straight = found["rows"]
    assert exact["softness"] == 0.05
    assert 0 < exact["gaps"]["2.0"] < exact["gaps"]["4.0"] < 1
    assert straight["gaps"] == pytest.approx({"2.0": 0, "4.0": 0}, abs=1e-6)
    again = json.loads(benchmark(tmp_path, capsys, *asked))
    assert again["rows"] == found["rows"]  # times would not be the same twice
    page = benchmark(tmp_path, capsys, *asked[:-1])
    assert "largest N in 8 GB, extrapolated" in page
    next((tmp_path / "figures").glob("*cost exact*")).write_text("{")
    assert main(["benchmark", "operators", "--output", str(tmp_path), *SMALL, *asked]) == 2
    assert "is damaged: delete it to measure again" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits are kept on Linux alone")
def test_what_does_not_fit_or_takes_too_long_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--seeds", "0", "--json", "--candidates", "20", "20000")
    page = benchmark(tmp_path, capsys, *asked, "--operators", "listing", "--gigabytes", "0.3")
    (row,) = json.loads(page)["rows"]
    assert row["costs"]["20000"] == {"seconds": None, "megabytes": None, "left_out": "memory"}
    page = benchmark(tmp_path, capsys, *asked, "--operators", "softsort", "--seconds", "1e-9")
    (row,) = json.loads(page)["rows"]
    assert row["costs"]["20000"]["left_out"] == "time"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--operators", "bubblesort"],
        ["--k", "40"],
        ["--mixtures", "1"],
        ["--seeds", "-1"],
        ["--gigabytes", "0"],
    ],
    ids=lambda each: each[0],
)
def test_a_mistake_is_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "operators", "--candidates", "20", *wrong]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_softness_that_validates_best_is_trained_with_all_seeds(tmp_path: Path) -> None:
    said: list[str] = []
    names: Sequence[OperatorName] = ("exact", "lapsum")

    def train() -> str:
        return train_operators(names, (0.5, 2.0), 2, tmp_path, settings=TINY, say=said.append)

    page = train()
    header, _, *rows = page.splitlines()
    assert [row.split(",")[0] for row in rows] == ["| exact", "| lapsum"]
    runs = [column.strip() for column in header.split("|")].index("runs")
    assert [row.split("|")[runs].strip() for row in rows] == ["2", "2"]
    assert len(said) == 4 + 2  # four softnesses once, two of them again
    folders = sorted(tmp_path.rglob("result.json"))
    assert len(folders) == 6
    said.clear()
    assert train() == page
    assert said == []

    relaxed = next(file.parent for file in folders if "lapsum" in str(file))
    model = load(relaxed).model
    assert isinstance(model.select, Relaxed)
    assert model.select.name == "lapsum"
    scores = uniform(2, 30)
    assert model.select(scores).is_hard
    model.select.train()
    assert not model.select(scores).is_hard
    assert math.isfinite(float(model.select(scores).weights.sum()))
