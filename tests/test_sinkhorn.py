"""Laws of the Top-K by optimal transport: it converges, and its gradient is that of the optimum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal import topk

CASES = {
    "far apart": [0.31, 0.94, 0.05, 0.62, 0.47, 0.88, 0.13],
    "close": [0.5001, 0.5004, 0.4999, 0.5, 0.5002, 0.49985, 0.50025],
    "pairs": [0.5, 0.5, 0.2, 0.2, 0.9, 0.9, 0.2],
    "equal": [0.5] * 7,
    "one ahead": [0.1, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1],
}


def row(values: list[float]) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(scores: Tensor, k: int, **options: object) -> Tensor:
    return topk.sinkhorn(scores, k, **options).dense(scores.shape[1])


def slope(scores: Tensor, k: int, incoming: Tensor, **options: object) -> Tensor:
    """The gradient of <incoming, value>."""
    leaf = scores.detach().clone().requires_grad_()
    (dense(leaf, k, **options) * incoming).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def problem(scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Costs (..., N, P), the marginals of candidates and places; no place 0 if all are chosen."""
    n = scores.shape[-1]
    places = torch.arange(0 if n > k else 1, k + 1, dtype=torch.float64)
    wanted = torch.full_like(places, 1 / n)
    if n > k:
        wanted[0] = (n - k) / n
    mine = torch.full((n,), 1 / n, dtype=torch.float64)
    return (scores[..., None] - places).square(), mine, wanted


def swept(
    scores: Tensor, k: int, epsilon: float | Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """The weights (B, K, N) after sweeps over both potentials, written as in the textbook.

    Also by how much the last sweep changed the potentials of each image, in units of epsilon.
    """
    cost, mu, nu = problem(scores, k)
    g = torch.zeros(len(scores), 1, len(nu), dtype=torch.float64)
    for _ in range(iterations):
        before = g
        f = epsilon * (mu[:, None].log() - ((g - cost) / epsilon).logsumexp(dim=2, keepdim=True))
        g = epsilon * (nu.log() - ((f - cost) / epsilon).logsumexp(dim=1, keepdim=True))
    plan = ((f + g - cost) / epsilon).exp()
    change = ((g - before) / epsilon).abs().amax(dim=(1, 2))
    return scores.shape[1] * plan[..., -k:].transpose(1, 2), change


@pytest.mark.parametrize("epsilon", [1e-4, 0.01, 0.3, 10.0])
@pytest.mark.parametrize("distance", [0.0, 1e-5, 2e-3, 0.7])
def test_one_of_two_is_chosen_with_the_logistic_chance(distance: float, epsilon: float) -> None:
    scores, incoming = row([0.2, 0.2 + distance]), row([1.0, -2.0])[None]
    chance = 1 / (1 + math.exp(min(700, distance / epsilon)))
    value = dense(scores, 1, epsilon=epsilon)
    torch.testing.assert_close(value, row([chance, 1 - chance])[None], rtol=0, atol=1e-10)
    steep = 3 * chance * (1 - chance) / epsilon
    found = slope(scores, 1, incoming, epsilon=epsilon)
    # the scores' own rounding over epsilon, 1e-16 / 1e-4, is all that is lost
    torch.testing.assert_close(found, row([steep, -steep]), rtol=1e-9, atol=1e-9 / epsilon)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (9, 1), (9, 4), (9, 9), (200, 12)])
def test_equal_scores_share_every_slot_equally(n: int, k: int) -> None:
    value = dense(torch.full((2, n), 0.4, dtype=torch.float64), k)
    torch.testing.assert_close(value, torch.full_like(value, 1 / n), rtol=1e-9, atol=0)


@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_it_is_the_limit_of_sweeps(k: int) -> None:
    scores = torch.tensor([*CASES.values()], dtype=torch.float64).repeat(3, 1)
    epsilons = torch.tensor([0.02, 0.2, 3.0], dtype=torch.float64).repeat_interleave(len(CASES))
    truth, change = swept(scores, k, epsilons[:, None, None], 800)
    still = change < 1e-13
    assert still.sum() >= 9  # of 15; the others would need more sweeps
    for b in still.nonzero().flatten().tolist():
        found = dense(scores[b : b + 1], k, epsilon=epsilons[b].item())[0]
        torch.testing.assert_close(found, truth[b], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "k"), [(30, 4), (12, 12)])
def test_it_is_the_plan_of_an_independent_solver(n: int, k: int) -> None:
    ot = pytest.importorskip("ot", reason="POT, the solver to compare with, is not installed")
    scores = uniform(1, n)
    cost, mu, nu = problem(scores[0], k)
    plan = ot.sinkhorn(mu, nu, cost, 0.05, method="sinkhorn_log", numItermax=100_000, stopThr=1e-13)
    found = dense(scores, k, epsilon=0.05)[0]
    torch.testing.assert_close(found, n * plan[:, -k:].T, rtol=0, atol=1e-9)


@given(
    n=st.integers(1, 40),
    share=st.floats(0, 1),
    levels=st.sampled_from([2, 5, 10**9]),
    exponent=st.floats(-9, 3),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_marginals_are_met_within_a_few_steps_at_every_scale(
    n: int, share: float, levels: int, exponent: float, scale: float, seed: int
) -> None:
    k = 1 + round(share * (n - 1))
    scores = scale * (uniform(2, n, seed=seed) * levels).round() / levels
    value = dense(scores, k, epsilon=scale * 10**exponent, iterations=30)
    assert (value >= 0).all()
    torch.testing.assert_close(
        value.sum(dim=2), torch.ones_like(value[:, :, 0]), rtol=0, atol=1e-12
    )
    assert (value.sum(dim=1) <= 1 + 1e-9).all()
    if k == n:
        torch.testing.assert_close(
            value.sum(dim=1), torch.ones_like(value[:, 0]), rtol=0, atol=1e-9
        )
    place = (value @ scores[..., None])[..., 0]  # the mean score of a slot rises with it
    assert (place.diff(dim=1) >= -1e-9 * scale).all()


@pytest.mark.parametrize("epsilon", [2e-4, 0.02, 1.0])
@pytest.mark.parametrize("k", [1, 3, 6, 7])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_the_finite_difference(case: str, k: int, epsilon: float) -> None:
    scores, incoming, step = row(CASES[case]), normal(1, k, 7), 1e-4 * epsilon
    found = slope(scores, k, incoming, epsilon=epsilon)
    ends = [
        [(dense(scores + d * step * e, k, epsilon=epsilon) * incoming).sum() for d in (1, -1)]
        for e in torch.eye(7, dtype=torch.float64)
    ]
    differences = torch.stack([(up - down) / (2 * step) for up, down in ends])
    # in units of 1 / epsilon, its size: (step / epsilon)^2 is 1e-8, marginals 1e-10 over 1e-4, 1e-6
    torch.testing.assert_close(found[0] * epsilon, differences * epsilon, rtol=0, atol=5e-6)


def test_the_gradient_of_many_candidates_is_the_finite_difference() -> None:
    scores, incoming, step = uniform(2, 400), normal(2, 10, 400), 1e-8
    scores[1] = (scores[1] * 20).round() / 20
    found = slope(scores, 10, incoming)
    for direction in normal(4, 2, 400, seed=3):
        up, down = (dense(scores + d * step * direction, 10) for d in (1, -1))
        difference = ((up - down) * incoming).sum() / (2 * step)
        # marginals hold within 1e-10, which the step magnifies to 0.01, of gradients of about 1e4
        assert (found * direction).sum().item() == pytest.approx(difference.item(), rel=1e-4)


def test_scores_may_all_move_alike_and_so_may_the_values_of_a_slot() -> None:
    scores, incoming = uniform(2, 60), normal(2, 5, 60)
    gradient = slope(scores, 5, incoming, epsilon=0.01)
    assert gradient.abs().max() > 1
    assert gradient.sum(dim=1).abs().max() < 1e-8
    offsets = torch.tensor([3.0, -1.0, 0.5, 8.0, 200.0], dtype=torch.float64)[:, None]
    for moved in (
        slope(scores + 7, 5, incoming, epsilon=0.01),
        slope(scores, 5, incoming + offsets, epsilon=0.01),
    ):
        torch.testing.assert_close(moved, gradient, rtol=0, atol=1e-7)


def test_a_small_epsilon_selects_what_hard_selects_in_order_of_score() -> None:
    scores, incoming = uniform(4, 30), normal(4, 4, 30)
    limit = dense(scores, 4, epsilon=0.0)
    assert torch.equal(limit.sum(dim=1), topk.hard(scores, 4).dense(30).sum(dim=1))
    assert torch.equal((limit @ scores[..., None])[..., 0], scores.topk(4).values.flip(1))
    distances = [(dense(scores, 4, epsilon=10.0**-e) - limit).abs().max().item() for e in range(8)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-10
    # nothing is in doubt, so nothing is to be learned: 1 / epsilon is 1e7, roundings are 1e-16
    assert slope(scores, 4, incoming + 100, epsilon=1e-7).abs().max() < 1e-6


def test_without_entropy_ties_go_to_the_lowest_index_and_nothing_is_differentiable() -> None:
    selection = topk.sinkhorn(row([0.5, 0.9, 0.5, 0.5]).requires_grad_(), 3, epsilon=0.0)
    assert selection.candidates.tolist() == [[2, 0, 1]]
    assert torch.equal(selection.weights, torch.eye(3, dtype=torch.float64)[None])
    assert not selection.weights.requires_grad


def test_the_candidates_out_of_reach_do_not_matter() -> None:
    scores, incoming = uniform(2, 100_000), normal(2, 10, 100_000)
    best = scores.topk(2000).values
    everything, few = topk.sinkhorn(scores, 10), topk.sinkhorn(best, 10)
    assert everything.candidates.shape[1] < 500
    nearest = everything.weights[..., -few.weights.shape[2] :]  # both in rising order
    torch.testing.assert_close(nearest, few.weights, rtol=0, atol=1e-9)
    gradient = slope(scores, 10, incoming)
    assert gradient.count_nonzero() < 1000
    assert gradient.sum(dim=1).abs().max() < 1e-6


def test_every_image_is_alone() -> None:
    scores, incoming = uniform(4, 80), normal(4, 6, 80)
    scores[1], scores[2, :40] = 0.5, scores[2].topk(6).values[-1]
    value, gradient = dense(scores, 6), slope(scores, 6, incoming)
    for b in range(4):
        one = slice(b, b + 1)
        # not to the bit: what is out of reach alone, below 1e-10, may be in reach in the batch
        torch.testing.assert_close(dense(scores[one], 6), value[one], rtol=0, atol=1e-9)
        alone = slope(scores[one], 6, incoming[one])
        torch.testing.assert_close(alone, gradient[one], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_follows_the_type_of_the_scores(dtype: torch.dtype) -> None:
    scores, incoming = uniform(3, 50).to(dtype), normal(3, 5, 50)
    found = dense(scores, 5)
    assert found.dtype == dtype
    exact = dense(scores.double(), 5)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=torch.finfo(dtype).eps)
    found = slope(scores, 5, incoming.to(dtype), epsilon=0.01)
    assert found.dtype == dtype
    truth = slope(scores.double(), 5, incoming.to(dtype).double(), epsilon=0.01)
    assert (found - truth).norm() < 4 * torch.finfo(dtype).eps * truth.norm()


@pytest.mark.parametrize("k", [1, 3, 6, 7])
@pytest.mark.parametrize("iterations", [1, 2, 50])
def test_the_released_solver_is_so_many_plain_sweeps(k: int, iterations: int) -> None:
    scores = row(CASES["far apart"])
    truth, _ = swept(scores, k, 0.01, iterations)
    found = dense(scores, k, epsilon=0.01, iterations=iterations, solver="released")
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)


def test_released_sweeps_have_the_gradient_of_the_optimum_once_they_reach_it() -> None:
    scores, incoming = uniform(2, 20), normal(2, 3, 20)
    options = {"epsilon": 0.3, "iterations": 500, "solver": "released"}
    torch.testing.assert_close(
        slope(scores, 3, incoming, **options), slope(scores, 3, incoming, epsilon=0.3)
    )


def test_the_released_setting_does_not_reach_the_optimum() -> None:
    scores = uniform(1, 40)
    optimum, released = dense(scores, 5), dense(scores, 5, solver="released")
    assert (released - optimum).abs().max() > 0.5
    slots = topk.sinkhorn(scores, 5, solver="released", iterations=3).weights.sum(dim=2)
    torch.testing.assert_close(slots, torch.ones_like(slots))  # whatever it reaches


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("scores", "k", "options", "message"),
    [
        (torch.zeros(2, 5), 0, {}, r"k.*0.*5"),
        (torch.zeros(2, 5), 6, {}, r"k.*6.*5"),
        (torch.zeros(2, 5), 2, {"epsilon": -0.1}, r"epsilon.*-0\.1"),
        (torch.zeros(2, 5), 2, {"epsilon": math.nan}, r"epsilon.*nan"),
        (torch.zeros(2, 5), 2, {"iterations": 0}, r"iterations.*0"),
        (
            torch.zeros(2, 5),
            2,
            {"iterations": 2},
            r"off by .* after 2 iterations at epsilon=0.0001",
        ),
        (torch.zeros(2, 5), 2, {"solver": "magic"}, "magic"),
        (torch.tensor([[0.0, math.nan, 1.0]]), 1, {}, "nan"),
        (torch.zeros(5), 2, {}, "5"),
    ],
)
def test_a_mistake_is_named_with_its_values(
    scores: Tensor, k: int, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        topk.sinkhorn(scores, k, **options)
