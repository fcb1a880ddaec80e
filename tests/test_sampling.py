"""Laws of attention sampling: of the draws, and of the mean they stand for."""

import math
from collections.abc import Iterator
from itertools import permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal import topk
from foveal.nn.selectors import Sampling
from foveal.topk import Selection
from foveal.topk.sampling import attention, expectation


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distribution(n: int, seed: int, sharpness: float = 1.0) -> Tensor:
    """A row of attention."""
    scores = torch.randn(1, n, generator=seeded(seed), dtype=torch.float64)
    return (sharpness * scores).softmax(dim=1)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def outcomes(row: Tensor, k: int, replacement: bool) -> Iterator[tuple[list[int], float]]:
    """Every sequence of k draws and its probability, draw by draw."""
    numbers = range(len(row))
    shares = row.tolist()
    for sequence in product(numbers, repeat=k) if replacement else permutations(numbers, k):
        probability, left = 1.0, 1.0
        for number in sequence:
            probability *= shares[number] / left
            left -= 0.0 if replacement else shares[number]
        yield list(sequence), probability


def drawn(sequence: list[int]) -> Selection:
    k = len(sequence)
    return Selection(torch.tensor([sequence]), torch.eye(k, dtype=torch.float64)[None])


SIZES = [(5, 1), (5, 2), (5, 3), (4, 4)]


@pytest.mark.parametrize("sharpness", [0.3, 3.0])
@pytest.mark.parametrize(("n", "k"), SIZES)
@pytest.mark.parametrize("replacement", [False, True])
def test_over_all_draws_value_and_gradients_are_those_of_the_exact_mean(
    n: int, k: int, replacement: bool, sharpness: float
) -> None:
    a, f = distribution(n, 1, sharpness).requires_grad_(), normal(n, 3, seed=2).requires_grad_()
    incoming = normal(1, 3, seed=3)
    exact = a @ f
    exact_gradients = torch.autograd.grad((exact * incoming).sum(), (a, f))

    total, value, to_a, to_f = (
        0.0,
        torch.zeros_like(exact),
        torch.zeros_like(a),
        torch.zeros_like(f),
    )
    for sequence, probability in outcomes(a.detach()[0], k, replacement):
        selection = drawn(sequence)
        estimate = expectation(f[selection.candidates], a, selection, replacement=replacement)
        gradients = torch.autograd.grad((estimate * incoming).sum(), (a, f))
        total += probability
        value += probability * estimate.detach()
        to_a += probability * gradients[0]
        to_f += probability * gradients[1]

    # 1e-10: rounding of up to 256 terms, the rarest of them weighed by 1 / a of some 1e3
    assert total == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(value, exact.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(to_a, exact_gradients[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(to_f, exact_gradients[1], rtol=0, atol=1e-10)


def published_gradient(a: Tensor, f: Tensor, incoming: Tensor, port: bool) -> Tensor:
    """To the attention of the drawn candidates, without replacement, as others' code has it.

    Its sums are over earlier draws; those of its PyTorch port count a draw's own term, too.
    """
    k, af = len(a), a[:, None] * f
    before = lambda terms: terms.cumsum(dim=0) - (0 if port else terms)  # noqa: E731
    left = 1 - before(a)
    term = before(af) + left[:, None] * f
    slope = term / (a / left)[:, None] + before(f) - torch.arange(k)[:, None] * f
    return (slope @ incoming) / k


@pytest.mark.parametrize("port", [False, True])
def test_the_published_gradient_without_replacement_is_not_that_of_the_exact_mean(
    port: bool,
) -> None:
    # What the docstring of `expectation` says of others; they are right for one draw and no more.
    a, f, incoming = distribution(5, 1)[0], normal(5, 3, seed=2), normal(3, seed=3)
    for k in (1, 2, 3):
        mean = torch.zeros_like(a)
        for sequence, probability in outcomes(a, k, replacement=False):
            found = published_gradient(a[sequence], f[sequence], incoming, port)
            mean[sequence] += probability * found
        error = mean - f @ incoming
        error = error - (a * error).sum()  # a constant means nothing to scores behind a softmax
        assert (error.abs().max() < 1e-10) if k == 1 else (error.abs().max() > 0.1)


@pytest.mark.parametrize("replacement", [False, True])
def test_the_gradient_of_the_scores_is_that_of_the_exact_mean(replacement: bool) -> None:
    scores, f = normal(1, 4, seed=5).requires_grad_(), normal(4, 2, seed=6)
    incoming = normal(1, 2, seed=7)
    (exact,) = torch.autograd.grad(((attention(scores, 0.1) @ f) * incoming).sum(), scores)
    mean = torch.zeros_like(exact)
    for sequence, probability in outcomes(attention(scores, 0.1).detach()[0], 2, replacement):
        selection = drawn(sequence)
        estimate = expectation(
            f[selection.candidates], attention(scores, 0.1), selection, replacement=replacement
        )
        mean += probability * torch.autograd.grad((estimate * incoming).sum(), scores)[0]
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-10)


@given(
    n=st.integers(1, 40), share=st.floats(0, 1), sharpness=st.floats(0, 60), seed=st.integers(0, 99)
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_weights_sum_to_one_however_sharp_the_attention(
    n: int, share: float, sharpness: float, seed: int
) -> None:
    k = 1 + round(share * (n - 1))
    a = attention((sharpness * normal(3, n, seed=seed)).float(), 1e-5)
    selection = topk.sample(a, k, generator=seeded(seed))
    a.requires_grad_()
    ones = torch.ones(3, k, 1)
    mean = expectation(ones, a, selection)
    # float32 rounding of sums of n terms
    torch.testing.assert_close(mean, torch.ones(3, 1), rtol=0, atol=1e-5)
    mean.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert (a.grad >= 0).all()


def test_more_draws_err_less() -> None:
    a, f = distribution(4, 8), normal(4, 2, seed=9)
    errors = []
    for k in (1, 2, 3, 4):
        each = [
            (probability, (expectation(f[None, sequence], a, drawn(sequence)) - a @ f).square())
            for sequence, probability in outcomes(a[0], k, replacement=False)
        ]
        errors.append(sum(float(p * e.sum()) for p, e in each))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("replacement", [False, True])
def test_sequences_are_drawn_as_often_as_they_should_be(replacement: bool) -> None:
    a, draws = distribution(4, 10, 1.5), 60_000
    selection = topk.sample(a.expand(draws, -1), 2, replacement=replacement, generator=seeded(0))
    found = selection.candidates @ torch.tensor([4, 1])
    counts = torch.bincount(found, minlength=16).double() / draws
    expected = torch.zeros(16, dtype=torch.float64)
    for (first, second), probability in outcomes(a[0], 2, replacement):
        expected[4 * first + second] = probability
    error = (expected * (1 - expected) / draws).sqrt()
    assert ((counts - expected).abs() <= 5 * error).all()  # five standard errors, 16 comparisons


@pytest.mark.parametrize("replacement", [False, True])
def test_a_sample_is_a_hard_selection_without_gradient(replacement: bool) -> None:
    a = distribution(9, 11).repeat(3, 1).float().requires_grad_()
    selection = topk.sample(a, 4, replacement=replacement, generator=seeded(1))
    assert selection.candidates.shape == (3, 4)
    assert torch.equal(selection.weights, torch.eye(4).expand(3, 4, 4))
    assert not selection.weights.requires_grad
    if not replacement:
        assert all(len(set(row)) == 4 for row in selection.candidates.tolist())
    again = topk.sample(a, 4, replacement=replacement, generator=seeded(1))
    assert torch.equal(selection.candidates, again.candidates)
    other = topk.sample(a, 4, replacement=replacement, generator=seeded(2))
    assert not torch.equal(selection.candidates, other.candidates)


@pytest.mark.parametrize("replacement", [False, True])
def test_what_has_no_attention_is_never_drawn(replacement: bool) -> None:
    among = torch.tensor([True, False, True, False, True, False]).repeat(500, 1)
    a = attention(torch.zeros(500, 6), 0.5, among)
    torch.testing.assert_close(a[0], torch.tensor([1, 0, 1, 0, 1, 0]) / 3)
    numbers = topk.sample(a, 3, replacement=replacement, generator=seeded(3)).candidates
    assert (numbers % 2 == 0).all()


def test_attention_is_a_smoothed_softmax_of_rows_that_sum_to_one() -> None:
    scores = normal(2, 30, seed=12)
    torch.testing.assert_close(attention(scores), scores.softmax(dim=1))
    sharp = attention(100 * scores, 0.3)
    torch.testing.assert_close(sharp.sum(dim=1), torch.ones(2).double())
    assert sharp.min().item() == pytest.approx(0.3 / 30)
    assert torch.equal(attention(scores, 1.0), torch.full_like(scores, 1 / 30))


def test_impossible_draws_are_refused_with_their_numbers() -> None:
    a = torch.tensor([[0.5, 0.5, 0.0]])
    with pytest.raises(ValueError, match="got k=4 for N=3"):
        topk.sample(a, 4)
    with pytest.raises(ValueError, match=r"positive for k=3 .* an image with 2 positive"):
        topk.sample(a, 3)
    with pytest.raises(ValueError, match=r"smallest of -0\.5"):
        topk.sample(a - 0.5, 1)
    with pytest.raises(ValueError, match="scores must be finite: got nan"):
        attention(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="smoothing must lie in"):
        attention(a, 1.5)
    with pytest.raises(ValueError, match="need a seed in evaluation"):
        Sampling(2, replacement=True, seed=None)


@pytest.mark.parametrize("replacement", [False, True])
def test_the_selector_draws_anew_in_training_and_the_same_in_evaluation(replacement: bool) -> None:
    a = torch.cat([distribution(50, seed) for seed in (13, 14, 15)]).float()
    select = Sampling(5, replacement=replacement)
    first, second = (select.train()(a).candidates for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (select.eval()(a) for _ in range(2))
    assert torch.equal(first.candidates, second.candidates)
    for b in range(3):  # whatever else is in the batch
        assert torch.equal(select(a[b : b + 1]).candidates[0], first.candidates[b])
    assert first.weights.shape == (3, 5, 5)
    other = Sampling(5, replacement=replacement, seed=1).eval()(a)
    assert not torch.equal(other.candidates, first.candidates)


def test_without_a_seed_the_likeliest_are_taken_in_their_order() -> None:
    select = Sampling(3, seed=None).eval()
    selection = select(torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]))
    assert selection.candidates.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert torch.equal(selection.weights, torch.eye(3).expand(2, 3, 3))
