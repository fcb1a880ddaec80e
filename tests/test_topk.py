"""Laws of the Top-K: hard, smoothed exactly, and smoothed by sampling."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from foveal import topk

SAMPLING = ("conditional", "score_function", "diagonal", "diagonal_centred")
ESTIMATORS = ("exact", *SAMPLING)
TIED = {
    "distinct": [0.31, 0.94, 0.05, 0.62, 0.47, 0.88, 0.13],
    "pairs": [0.5, 0.5, 0.2, 0.2, 0.9, 0.9, 0.2],
    "equal": [0.5] * 7,
    "one ahead": [0.1, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1],
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def smooth(scores: Tensor, k: int, sigma: float | Tensor, **options: object) -> Tensor:
    """The dense value of one row of scores, or of a batch."""
    rows = scores if scores.ndim == 2 else scores[None]
    dense = topk.perturbed(rows, k, sigma, **options).dense(rows.shape[1])
    return dense if scores.ndim == 2 else dense[0]


def slope(scores: Tensor, k: int, sigma: float, incoming: Tensor, **options: object) -> Tensor:
    """The gradient of <incoming, value>."""
    leaf = scores.detach().clone().requires_grad_()
    (smooth(leaf, k, sigma, **options) * incoming).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def cosine(a: Tensor, b: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


# --- the oracle itself


def test_the_oracle_is_a_distribution_and_its_gradient_is_its_finite_difference() -> None:
    scores, incoming, step = uniform(6), normal(3, 6), 1e-5
    assert reference.subset_probabilities(scores, 3, 0.2)[1].sum().item() == pytest.approx(1)
    ends = [
        [(reference.expected(scores + step * d * e, 3, 0.2) * incoming).sum() for d in (1, -1)]
        for e in torch.eye(6, dtype=torch.float64)
    ]
    differences = torch.stack([(up - down) / (2 * step) for up, down in ends])
    torch.testing.assert_close(
        reference.gradient(scores, 3, 0.2, incoming), differences, rtol=0, atol=1e-8
    )
    one_slot_each = reference.expected(scores, 3, 0.2).sum(dim=0)
    torch.testing.assert_close(one_slot_each, reference.inclusion(scores, 3, 0.2))


# --- hard


def test_hard_selects_the_largest_in_index_order() -> None:
    selection = topk.hard(torch.tensor([[0.1, 0.9, 0.3, 0.8], [4.0, 1.0, 2.0, 3.0]]), 2)
    assert selection.candidates.tolist() == [[1, 3], [0, 3]]
    assert torch.equal(selection.weights, torch.eye(2).expand(2, 2, 2))
    assert selection.dense(4)[0].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_hard_gives_ties_to_the_lowest_index() -> None:
    scores = torch.tensor([[0.5, 1.0, 0.5, 0.5, 1.0, 0.5] + [0.5] * 90])
    assert topk.hard(scores, 4).candidates.tolist() == [[0, 1, 2, 4]]
    assert topk.hard(torch.zeros(3, 200), 7).candidates.tolist() == [list(range(7))] * 3


def test_hard_has_no_gradient_and_follows_the_dtype() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        selection = topk.hard(torch.rand(2, 9, dtype=dtype, requires_grad=True), 3)
        assert selection.weights.dtype == dtype
        assert not selection.weights.requires_grad
        assert not selection.candidates.is_floating_point()


# --- exact


@pytest.mark.parametrize("sigma", [1e-3, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("ties", TIED)
def test_exact_is_the_enumeration_in_value_and_gradient(ties: str, sigma: float) -> None:
    for n in range(2, 8):
        for k in range(1, min(n, 3) + 1):
            scores, incoming = torch.tensor(TIED[ties][:n], dtype=torch.float64), normal(k, n)
            value, truth = smooth(scores, k, sigma), reference.expected(scores, k, sigma)
            torch.testing.assert_close(value, truth, rtol=0, atol=1e-7)
            steep = slope(scores, k, sigma, incoming)  # of the order 1 / sigma
            truth = reference.gradient(scores, k, sigma, incoming)
            torch.testing.assert_close(steep * sigma, truth * sigma, rtol=0, atol=1e-6)


def test_exact_holds_with_many_ties_just_above_the_kth_score() -> None:
    scores = torch.tensor([0.5, *[0.52] * 8, 0.1, 0.5, 0.0], dtype=torch.float64)
    incoming = normal(4, 12)
    for sigma in (2e-3, 0.02):
        torch.testing.assert_close(
            smooth(scores, 4, sigma), reference.expected(scores, 4, sigma), rtol=0, atol=1e-7
        )
        torch.testing.assert_close(
            slope(scores, 4, sigma, incoming) * sigma,
            reference.gradient(scores, 4, sigma, incoming) * sigma,
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("ties", [0, 30])
@pytest.mark.parametrize("sigma", [5e-3, 0.05, 0.5])
def test_exact_inclusion_and_its_gradient_hold_for_many_candidates(ties: int, sigma: float) -> None:
    scores, values = uniform(70), normal(70)
    kth = scores.topk(8).values[-1]
    scores[:ties] = kth + 0.4 * sigma
    leaf = scores.clone().requires_grad_()
    truth = reference.inclusion(leaf, 8, sigma)
    torch.testing.assert_close(smooth(scores, 8, sigma).sum(dim=0), truth, rtol=0, atol=1e-6)
    (truth,) = torch.autograd.grad((truth * values).sum(), leaf)
    found = slope(scores, 8, sigma, values.expand(8, 70))
    torch.testing.assert_close(found * sigma, truth * sigma, rtol=0, atol=1e-5)


def test_exact_agrees_with_simulation() -> None:
    scores, samples = uniform(200), 400_000
    value = smooth(scores, 8, 0.05)
    error = (value * (1 - value) / samples).sqrt()  # one standard error
    simulated = reference.monte_carlo(scores, 8, 0.05, samples)
    # five of them, for 1600 comparisons; a rare event's count is not normal: one event of slack
    assert ((simulated - value).abs() <= 5 * error + 1 / samples).all()


def test_exact_gradient_is_the_finite_difference_of_the_value() -> None:
    scores, incoming, step = uniform(2, 40), normal(2, 6, 40), 1e-5
    directions = normal(5, 2, 40, seed=3)
    gradient = slope(scores, 6, 0.05, incoming)
    for direction in directions:
        up, down = (smooth(scores + step * d * direction, 6, 0.05) for d in (1, -1))
        difference = ((up - down) * incoming).sum() / (2 * step)
        # the difference's own error is of the order step^2 / sigma^3 and rounding / step
        assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-6)


def test_exact_gives_sigma_its_gradient() -> None:
    scores, incoming = uniform(6), normal(2, 6)
    found, truth = (torch.tensor(0.2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    (smooth(scores, 2, found) * incoming).sum().backward()
    (reference.expected(scores, 2, truth) * incoming).sum().backward()
    torch.testing.assert_close(found.grad, truth.grad, rtol=0, atol=1e-6)


@given(
    n=st.integers(1, 6),
    k=st.integers(1, 6),
    levels=st.lists(st.integers(0, 4), min_size=6, max_size=6),
    exponent=st.floats(-6, 3),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_exact_holds_at_every_scale(
    n: int, k: int, levels: list[int], exponent: float, scale: float
) -> None:
    k, sigma = min(k, n), scale * 10**exponent
    scores = scale * torch.tensor(levels[:n], dtype=torch.float64) / 4
    value, incoming = smooth(scores, k, sigma), normal(k, n)
    torch.testing.assert_close(value, reference.expected(scores, k, sigma), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        slope(scores, k, sigma, incoming) * sigma,
        reference.gradient(scores, k, sigma, incoming) * sigma,
        rtol=0,
        atol=1e-5,
    )


@given(n=st.integers(1, 120), share=st.floats(0, 1), exponent=st.floats(-4, 2), seed=st.integers(0))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_exact_rows_are_distributions_with_slots_in_index_order(
    n: int, share: float, exponent: float, seed: int
) -> None:
    k = 1 + round(share * (min(n, 20) - 1))
    scores = uniform(3, n, seed=seed % 2**31)
    scores[1] = (scores[1] * 4).round() / 4  # ties
    value = smooth(scores, k, 10**exponent)
    assert (value >= 0).all()
    torch.testing.assert_close(value.sum(dim=2), torch.ones_like(value[:, :, 0]), rtol=0, atol=1e-6)
    assert (value.sum(dim=1) <= 1 + 1e-6).all()  # nobody is chosen twice
    place = value @ torch.arange(n, dtype=torch.float64)  # (3, K)
    assert (place.diff(dim=1) >= 1 - n * 1e-6).all()


def test_exact_sums_to_one_over_candidates_and_to_zero_in_the_gradient() -> None:
    scores, incoming = uniform(3, 300), normal(3, 10, 300)
    for sigma in (1e-3, 0.05, 1.0):
        gradient = slope(scores, 10, sigma, incoming)
        balance = gradient.sum(dim=1).abs() / gradient.abs().sum(dim=1)
        assert (balance < 1e-6).all()


def test_a_constant_added_to_all_scores_changes_nothing() -> None:
    scores, incoming = uniform(50), normal(5, 50)
    # 1e-10: the rounding of score + 7, 1e-15, over a sigma of 0.05, with room
    for found, moved in (
        (smooth(scores, 5, 0.05), smooth(scores + 7, 5, 0.05)),
        (slope(scores, 5, 0.05, incoming), slope(scores + 7, 5, 0.05, incoming)),
    ):
        torch.testing.assert_close(moved, found, rtol=0, atol=1e-10)


@pytest.mark.parametrize("estimator", ["exact", "conditional"])
def test_a_constant_added_to_the_incoming_gradient_changes_nothing(estimator: str) -> None:
    scores, incoming = uniform(2, 60), normal(2, 5, 60)
    offsets = torch.tensor([3.0, -1.0, 0.5, 8.0, 2.0], dtype=torch.float64)[:, None]
    for constant in (3.0, offsets):  # the same, or one per slot
        found, moved = (
            slope(scores, 5, 0.05, g, estimator=estimator, samples=20, generator=seeded(5))
            for g in (incoming, incoming + constant)
        )
        torch.testing.assert_close(moved, found, rtol=0, atol=1e-12 * found.abs().max().item())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_without_noise_it_is_hard_to_the_bit_and_has_no_gradient(estimator: str) -> None:
    scores = torch.tensor([[0.3, 0.7, 0.7, 0.1, 0.7], [0.0, 0.0, 0.0, 0.0, 0.0]])
    found = topk.perturbed(scores, 2, 0.0, estimator=estimator)
    hard = topk.hard(scores, 2)
    assert torch.equal(found.dense(5), hard.dense(5))
    assert torch.equal(found.candidates, hard.candidates)
    assert torch.equal(found.weights, hard.weights)
    leaf = scores.clone().requires_grad_()
    weights = topk.perturbed(leaf, 2, 0.0, estimator=estimator).weights
    if weights.requires_grad:
        weights.square().sum().backward()
    assert leaf.grad is None or not leaf.grad.any()


@pytest.mark.parametrize("estimator", ["exact", "conditional"])
def test_everything_is_selected_without_gradient_where_k_is_n(estimator: str) -> None:
    scores = uniform(2, 6)
    value = smooth(scores, 6, 0.3, estimator=estimator)
    torch.testing.assert_close(value, torch.eye(6, dtype=torch.float64).expand(2, 6, 6))
    assert slope(scores, 6, 0.3, normal(2, 6, 6), estimator=estimator).abs().max() < 1e-12


@pytest.mark.parametrize("estimator", ["exact", "conditional"])
def test_certain_selection_has_no_gradient(estimator: str) -> None:
    scores = torch.tensor([[0.0, 1.0, 0.1, 0.9, 0.2], [1.0, 0.1, 0.1, 0.1, 0.8]])
    value = smooth(scores, 2, 1e-3, estimator=estimator)
    assert torch.allclose(value, topk.hard(scores, 2).dense(5), rtol=0, atol=1e-6)
    gradient = slope(scores, 2, 1e-3, normal(2, 2, 5).float(), estimator=estimator)
    assert gradient.abs().max() < 1e-9


def test_exact_approaches_hard_as_the_noise_vanishes() -> None:
    scores = uniform(4, 30)
    hard = topk.hard(scores, 4).dense(30)
    distances = [(smooth(scores, 4, 10.0**-e) - hard).abs().max().item() for e in range(7)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-6


def test_equal_scores_are_chosen_equally_often() -> None:
    for k, n in ((1, 9), (4, 16), (12, 200)):
        chosen = smooth(torch.full((n,), 0.4, dtype=torch.float64), k, 0.05).sum(dim=0)
        torch.testing.assert_close(chosen, torch.full_like(chosen, k / n), rtol=0, atol=1e-7)


def test_exact_treats_every_image_alone() -> None:
    scores, incoming = uniform(5, 80), normal(5, 6, 80)
    scores[1] = 0.5
    scores[2, :40] = scores[2].topk(6).values[-1] + 0.02
    value, gradient = smooth(scores, 6, 0.05), slope(scores, 6, 0.05, incoming)
    for b in range(5):
        # not to the bit: the batch may need more nodes than the image alone
        torch.testing.assert_close(smooth(scores[b], 6, 0.05), value[b], rtol=0, atol=1e-7)
        alone = slope(scores[b], 6, 0.05, incoming[b])
        torch.testing.assert_close(alone, gradient[b], rtol=0, atol=1e-5)


def test_exact_in_single_precision_is_close_to_double() -> None:
    scores, incoming = uniform(3, 300), normal(3, 10, 300)
    value, gradient = smooth(scores, 10, 0.05), slope(scores, 10, 0.05, incoming)
    single = smooth(scores.float(), 10, 0.05)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), value, rtol=0, atol=1e-5)
    single = slope(scores.float(), 10, 0.05, incoming.float())
    assert single.dtype == torch.float32
    assert (single - gradient).norm() < 1e-3 * gradient.norm()


def test_a_strided_view_gives_what_its_copy_gives() -> None:
    scores, incoming = uniform(40, 2).t(), normal(4, 2, 40).transpose(0, 1)
    assert not scores.is_contiguous()
    copy = scores.contiguous()
    assert torch.equal(smooth(scores, 4, 0.05), smooth(copy, 4, 0.05))
    assert torch.equal(
        slope(scores, 4, 0.05, incoming), slope(copy, 4, 0.05, incoming.contiguous())
    )


# --- by sampling


@pytest.mark.parametrize("estimator", SAMPLING)
def test_sampling_is_the_mean_of_one_hots_and_repeats_with_its_generator(estimator: str) -> None:
    scores, samples = uniform(3, 40), 64
    first, again, other = (
        smooth(scores, 5, 0.05, estimator=estimator, samples=samples, generator=seeded(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    counts = first * samples
    assert torch.allclose(first.sum(dim=2), torch.ones(3, 5, dtype=torch.float64), atol=1e-12)
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)
    assert torch.equal(counts.round().sum(dim=2), torch.full_like(counts[:, :, 0], samples))
    one = smooth(scores, 5, 0.05, estimator=estimator, samples=1, generator=seeded(1))
    places = one.argmax(dim=2)
    assert torch.equal(one.sum(dim=2), torch.ones_like(one[:, :, 0]))
    assert (places.diff(dim=1) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("estimator", SAMPLING)
def test_sampling_rows_sum_to_one_in_every_precision(estimator: str, dtype: torch.dtype) -> None:
    # certain, so that every weight is one, however it is rounded
    scores = torch.tensor([[0.0, 1.0, 0.1, 0.9, 0.2]], dtype=dtype)
    value = smooth(scores, 2, 1e-3, estimator=estimator, samples=3000, generator=seeded(1))
    assert value.dtype == dtype
    torch.testing.assert_close(value.sum(dim=2), torch.ones(1, 2, dtype=dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("estimator", SAMPLING)
def test_sampling_values_agree_with_exact(estimator: str) -> None:
    scores, samples = uniform(20), 40_000
    value = smooth(scores, 4, 0.1)
    error = (value * (1 - value) / samples).sqrt()
    found = smooth(scores, 4, 0.1, estimator=estimator, samples=samples, generator=seeded(3))
    assert ((found - value).abs() <= 5 * error + 2 / samples).all()


@pytest.mark.parametrize("estimator", SAMPLING)
def test_sampling_repeats_its_gradient_with_its_generator(estimator: str) -> None:
    scores, incoming = uniform(2, 30), normal(2, 4, 30)
    options = {"estimator": estimator, "samples": 50}
    first, again, other = (
        slope(scores, 4, 0.05, incoming, **options, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def expectation(
    estimator: str, samples: int, scores: Tensor, incoming: Tensor
) -> tuple[Tensor, Tensor]:
    """The mean gradient over 2000 draws (rows of one batch), and its standard error."""
    rows = scores.expand(2000, -1)
    generator = seeded(11)
    options = {"estimator": estimator, "samples": samples, "generator": generator}
    drawn = slope(rows, len(incoming), 0.15, incoming, **options)
    return drawn.mean(dim=0), drawn.std(dim=0) / math.sqrt(len(drawn))


@pytest.mark.parametrize(
    ("estimator", "truth"),
    [
        ("conditional", reference.gradient),
        ("score_function", reference.gradient),
        ("diagonal", reference.diagonal),
    ],
)
@pytest.mark.parametrize(("n", "k"), [(6, 1), (6, 2), (7, 3), (6, 5)])
def test_a_sampled_gradient_has_its_expectation(
    estimator: str, truth: Callable[..., Tensor], n: int, k: int
) -> None:
    scores, incoming = uniform(n), normal(k, n)
    mean, error = expectation(estimator, 8, scores, incoming)
    assert ((mean - truth(scores, k, 0.15, incoming)).abs() <= 4 * error + 1e-9).all()
    if truth is reference.gradient:
        assert abs(mean.sum().item()) <= 4 * error.norm().item() * math.sqrt(n) + 1e-9


def test_conditional_is_less_noisy_than_the_score_function() -> None:
    scores, incoming = uniform(6), normal(2, 6)
    errors = [
        expectation(estimator, 8, scores, incoming)[1]
        for estimator in ("conditional", "score_function")
    ]
    assert errors[0].norm() < errors[1].norm() / 2


def test_diagonal_moves_only_what_was_chosen() -> None:
    scores, incoming = uniform(4, 30), normal(4, 3, 30)
    options = {"estimator": "diagonal", "samples": 5}
    chosen = smooth(scores, 3, 0.05, **options, generator=seeded(2)).sum(dim=1) > 0
    gradient = slope(scores, 3, 0.05, incoming, **options, generator=seeded(2))
    assert torch.equal(gradient != 0, chosen)


def test_diagonal_centred_is_diagonal_of_the_centred_gradient() -> None:
    scores, incoming = uniform(4, 30), normal(4, 3, 30) + 3
    value, centred = (
        function(*arguments, estimator=estimator, samples=40, generator=seeded(2))
        for function, arguments, estimator in (
            (smooth, (scores, 3, 0.05), "diagonal"),
            (slope, (scores, 3, 0.05, incoming), "diagonal_centred"),
        )
    )
    rest = incoming - (incoming * value).sum(dim=2, keepdim=True)
    options = {"estimator": "diagonal", "samples": 40, "generator": seeded(2)}
    torch.testing.assert_close(centred, slope(scores, 3, 0.05, rest, **options))


def test_a_constant_ruins_diagonal_and_not_the_others() -> None:
    scores, incoming = uniform(4, 300), normal(300).expand(4, 6, 300) + 3
    truth = slope(scores, 6, 0.05, incoming)
    found = {
        estimator: cosine(
            slope(scores, 6, 0.05, incoming, estimator=estimator, generator=seeded(4)), truth
        )
        for estimator in SAMPLING
    }
    assert found["diagonal"] < 0.5
    assert found["diagonal_centred"] > 0.9
    assert found["conditional"] > 0.99


# --- mistakes


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(2, 5), 0, 0.1), {}, r"k.*0.*5"),
        ((torch.zeros(2, 5), 6, 0.1), {}, r"k.*6.*5"),
        ((torch.zeros(2, 5), 2, -0.1), {}, r"sigma.*-0\.1"),
        ((torch.zeros(2, 5), 2, math.nan), {}, r"sigma.*nan"),
        ((torch.zeros(2, 5), 2, 0.1), {"estimator": "conditional", "samples": 0}, r"samples.*0"),
        ((torch.zeros(2, 5), 2, 0.1), {"estimator": "magic"}, "magic"),
        ((torch.full((2, 5), math.nan), 2, 0.1), {}, r"(?i)nan|finite"),
        ((torch.tensor([[0.0, math.inf, 1.0]]), 2, 0.1), {}, r"(?i)inf|finite"),
        ((torch.zeros(5), 2, 0.1), {}, r"5"),
        ((torch.zeros(1, 2, 5), 2, 0.1), {}, r"5"),
        ((torch.zeros(2, 5, dtype=torch.int64), 2, 0.1), {}, r"int64"),
    ],
)
def test_a_mistake_is_named_with_its_values(
    arguments: tuple[Tensor, int, float], options: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        topk.perturbed(*arguments, **options)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        (torch.zeros(2, 5), 0, r"k.*0.*5"),
        (torch.zeros(2, 5), 6, r"k.*6.*5"),
        (torch.tensor([[0.0, math.nan, 1.0]]), 1, r"(?i)nan|finite"),
        (torch.zeros(5), 2, r"5"),
    ],
)
def test_hard_names_a_mistake_with_its_values(scores: Tensor, k: int, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        topk.hard(scores, k)
