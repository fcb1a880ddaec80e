"""Laws of the normalisations of scores."""

from functools import partial

import pytest
import torch

from foveal import topk
from foveal.nn.normalisations import (
    identity,
    in_turn,
    layer_norm,
    min_max,
    sigmoid,
    smoothing,
    softmax,
    zero_one,
)
from foveal.paper.nn.normalisations import named_normalisation

SCORES = torch.randn(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ALL = {
    "identity": identity,
    "softmax": softmax,
    "smoothing": partial(smoothing, share=0.3),
    "min_max": min_max,
    "zero_one": zero_one,
    "sigmoid": sigmoid,
    "layer_norm": layer_norm,
    "softmax, then smoothing": partial(in_turn, steps=(softmax, partial(smoothing, share=0.3))),
}


@pytest.mark.parametrize("name", ALL)
def test_a_normalisation_keeps_the_order_of_an_image_and_treats_it_alone(name):
    scaled = ALL[name](SCORES)
    assert scaled.shape == SCORES.shape
    assert torch.equal(scaled.argsort(dim=1), SCORES.argsort(dim=1))
    for b in range(3):
        torch.testing.assert_close(ALL[name](SCORES[b : b + 1])[0], scaled[b])


@pytest.mark.parametrize("name", ALL)
def test_the_scorer_learns_through_a_normalisation(name):
    leaf = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(ALL[name], leaf)


def test_min_max_spans_nought_to_one_and_ignores_offset_and_scale():
    scaled = min_max(SCORES)
    assert (scaled.amin(dim=1) == 0).all()
    torch.testing.assert_close(scaled.amax(dim=1), torch.ones(3).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(min_max(5 * SCORES - 2), scaled, rtol=1e-4, atol=0)


def test_min_max_of_equal_scores_is_finite():
    assert (min_max(torch.ones(2, 5)) == 0).all()


def test_zero_one_reaches_both_ends_and_is_refused_where_it_means_nothing():
    scaled = zero_one(SCORES)
    assert (scaled.amin(dim=1) == 0).all()
    assert (scaled.amax(dim=1) == 1).all()
    with pytest.raises(ValueError, match="finite: got nan"):
        topk.hard(zero_one(torch.ones(2, 5)), 1)


def test_softmax_and_its_smoothing_are_shares_and_sigmoid_looks_at_no_other():
    shares = softmax(SCORES)
    torch.testing.assert_close(shares, SCORES.exp() / SCORES.exp().sum(dim=1, keepdim=True))
    smooth = smoothing(shares, share=0.3)
    torch.testing.assert_close(smooth, 0.7 * shares + 0.3 / 50)
    torch.testing.assert_close(smooth.sum(dim=1), torch.ones(3).double())
    torch.testing.assert_close(sigmoid(SCORES), 1 / (1 + (-SCORES).exp()))
    with pytest.raises(ValueError, match=r"0..1: got 1\.5"):
        smoothing(shares, share=1.5)


def test_layer_norm_is_torchs_before_it_has_learned_anything():
    scaled = layer_norm(SCORES)
    torch.testing.assert_close(scaled.mean(dim=1), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        scaled.var(dim=1, correction=0), torch.ones(3).double(), rtol=1e-5, atol=0
    )
    learned = torch.nn.LayerNorm(50, eps=1e-6, dtype=torch.float64)
    torch.testing.assert_close(scaled, learned(SCORES))


def test_normalisations_are_to_be_had_by_name_and_in_turn():
    for name in ("identity", "min_max", "zero_one", "softmax", "sigmoid", "layer_norm"):
        assert torch.equal(named_normalisation(name)(SCORES), ALL[name](SCORES))
    assert torch.equal(named_normalisation("smoothing(0.3)")(SCORES), ALL["smoothing"](SCORES))
    torch.testing.assert_close(
        named_normalisation("softmax | smoothing(0.3)|min_max")(SCORES),
        min_max(smoothing(softmax(SCORES), 0.3)),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("softmaxx", "unknown normalisation 'softmaxx': choose identity, "),
        ("softmax|", "unknown normalisation ''"),
        ("smoothing", "unknown normalisation 'smoothing'"),
        ("smoothing(2)", "share must lie in"),
        ("smoothing(1e-)", r"1e-"),
    ],
)
def test_what_is_no_normalisation_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        named_normalisation(words)
