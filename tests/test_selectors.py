"""Laws of the selectors: soft or disturbed in training, certain and repeatable in evaluation."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import Tensor

from foveal import topk, windows
from foveal.models import PatchClassifier
from foveal.nn import aggregators, encoders, scorers
from foveal.nn.protocols import Annealed, Selector
from foveal.nn.selectors import Hard, Random, Sinkhorn, TopK
from foveal.paper.nn.selectors import Mixed

ALL = {
    "TopK": lambda: TopK(3, sigma=0.1),
    "TopK, soft": lambda: TopK(3, sigma=0.1, soft_evaluation=True),
    "Sinkhorn": lambda: Sinkhorn(3, epsilon=0.01),
    "Sinkhorn, soft": lambda: Sinkhorn(3, epsilon=0.01, soft_evaluation=True),
    "Hard": lambda: Hard(3),
    "Random": lambda: Random(3),
    "Mixed TopK": lambda: Mixed(TopK(3, sigma=0.1), hard=0.3, random=0.3, dropped=0.3),
    "Mixed Sinkhorn": lambda: Mixed(Sinkhorn(3, epsilon=0.01), random=0.3),
    "Mixed Random": lambda: Mixed(Random(3), hard=0.3),
}


def scores(batch: int = 4, n: int = 20, seed: int = 0) -> Tensor:
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(a: topk.Selection, b: topk.Selection) -> bool:
    return torch.equal(a.candidates, b.candidates) and torch.equal(a.weights, b.weights)


@pytest.mark.parametrize("name", ALL)
def test_a_selector_says_its_slots_and_fills_them(name):
    select = ALL[name]()
    assert isinstance(select, Selector)
    for mode in (True, False):
        dense = select.train(mode)(scores()).dense(20)
        assert dense.shape == (4, select.k, 20)
        assert (dense >= 0).all()
        if name != "Mixed TopK" or not mode:  # which drops some
            torch.testing.assert_close(dense.sum(dim=2), torch.ones(4, 3).double())
    assert f"k={select.k}" in repr(select)


@pytest.mark.parametrize("name", ALL)
def test_evaluation_repeats_itself_for_every_image_alone_and_leaves_chance_alone(name):
    select = ALL[name]().eval()
    state = torch.get_rng_state()
    together = select(scores())
    assert same(select(scores()), together)
    for b in range(4):
        alone = select(scores()[b : b + 1])
        torch.testing.assert_close(alone.dense(20)[0], together.dense(20)[b], rtol=0, atol=1e-9)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ALL)
def test_training_is_a_function_of_the_default_generator(name):
    select = ALL[name]().train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, other = select(scores()), select(scores())
        torch.manual_seed(1)
        assert same(select(scores()), first)
    assert same(first, other) == ("Mixed" not in name and name != "Random")


def test_hard_takes_the_highest_scores_in_training_too():
    raw = scores().requires_grad_()
    for mode in (True, False):
        selection = Hard(3).train(mode)(raw)
        assert same(selection, topk.hard(raw, 3))
        assert not selection.weights.requires_grad


def test_topk_is_soft_in_training_and_hard_in_evaluation():
    raw = scores().requires_grad_()
    select = TopK(3, sigma=0.1)
    soft = select.train()(raw)
    torch.testing.assert_close(soft.weights, topk.perturbed(raw, 3, 0.1).weights)
    assert soft.weights.requires_grad
    assert same(select.eval()(raw), topk.hard(raw, 3))


def test_topk_that_is_soft_in_evaluation_is_the_mean_of_draws_at_the_last_sigma_of_training():
    raw, draws = scores(2, 6), 40_000
    trained = TopK(2, sigma=0.3, estimator="diagonal", soft_evaluation=True).train()
    trained.noise_scale = 1 / 3
    trained(raw.clone().requires_grad_())
    loaded = TopK(2, sigma=0.3, estimator="diagonal", soft_evaluation=True).eval()
    before = loaded(raw)
    loaded.load_state_dict(trained.state_dict())
    noise = torch.randn(draws, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for b in range(2):
        best = (raw[b] + 0.1 * noise).topk(2).indices.sort(dim=1).values
        mean = torch.eye(6).double()[best].mean(dim=0)  # (K, N)
        # five standard deviations of a share, which are 0.5 / draws^0.5 at most
        found = loaded(raw).dense(6)[b]
        torch.testing.assert_close(found, mean, rtol=0, atol=2.5 / draws**0.5)
    assert not torch.allclose(before.dense(6), loaded(raw).dense(6), atol=0.05)
    assert TopK(2).state_dict() == {}


@pytest.mark.parametrize("soft", [False, True])
def test_sinkhorn_is_soft_in_training_and_as_told_in_evaluation(soft):
    raw = scores().requires_grad_()
    select = Sinkhorn(3, epsilon=0.01, soft_evaluation=soft)
    truth = topk.sinkhorn(raw, 3, epsilon=0.01)
    assert same(select.train()(raw), truth)
    assert select(raw).weights.requires_grad
    found = select.eval()(raw)
    assert same(found, truth if soft else topk.sinkhorn(raw, 3, epsilon=0.0))
    released = Sinkhorn(3, epsilon=0.01, iterations=5, solver="released").train()(raw)
    assert same(released, topk.sinkhorn(raw, 3, epsilon=0.01, iterations=5, solver="released"))


def test_random_draws_every_set_equally_often_whatever_the_scores():
    n, k, draws = 6, 2, 15_000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        selection = Random(k).train()(scores(1, n).expand(draws, n))
    counts = Counter(map(tuple, selection.candidates.tolist()))
    expected = draws / 15
    assert set(counts) == set(combinations(range(n), k))
    # five standard deviations of a count
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    assert torch.equal(selection.weights, torch.eye(k).expand(draws, k, k))


def test_random_looks_at_the_same_windows_of_all_images_and_others_with_another_seed():
    chosen = Random(3).eval()(scores()).candidates
    assert (chosen == chosen[0]).all()
    assert torch.equal(Random(3).eval()(scores(seed=5)).candidates, chosen)
    others = [tuple(Random(3, seed=s).eval()(scores()).candidates[0].tolist()) for s in range(9)]
    assert len(set(others)) > 5


@pytest.mark.parametrize("train", [True, False])
def test_random_never_looks_outside_an_image_of_another_shape(train):
    torch.manual_seed(0)
    model = PatchClassifier(
        scorer=scorers.ConvScorer(pool=4),
        select=Random(9),
        encoder=encoders.ThinResNet(width=8),
        aggregate=aggregators.mean,
        classes=2,
        view=(40, 40),
        patch=(24, 24),
    ).train(train)
    for size in ((60, 180), (180, 60)):
        prediction = model([torch.rand(3, *size), torch.rand(3, *size)])
        chosen = windows.centres(prediction.windows[prediction.selection.candidates])
        assert (chosen < torch.tensor(size)).all()


def mixed(raw: Tensor, select: Selector | None = None, **chances: float) -> Tensor:
    """The dense weights in training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = Mixed(select or TopK(3, sigma=0.1), **chances).train()
        return wrapped(raw).dense(raw.shape[1])


def test_mixed_is_its_selector_in_evaluation_and_without_chance():
    select = TopK(3, sigma=0.1)
    assert same(Mixed(select, hard=1, random=1).eval()(scores()), topk.hard(scores(), 3))
    soft = topk.perturbed(scores(), 3, 0.1).dense(20)
    assert torch.equal(mixed(scores()), soft)
    assert torch.equal(mixed(scores(), random=0.0, hard=0.0, dropped=0.0), soft)


def test_mixed_selects_hard_for_whole_images_without_gradient():
    raw = scores(2000, 6).requires_grad_()
    value = mixed(raw, hard=0.3)
    hard, soft = topk.hard(raw, 3).dense(6), topk.perturbed(raw, 3, 0.1).dense(6)
    is_hard = (value == hard).all(dim=2).all(dim=1)
    assert torch.equal(value[~is_hard], soft[~is_hard])
    assert is_hard.sum() == pytest.approx(600, abs=5 * (2000 * 0.3 * 0.7) ** 0.5)
    value.square().sum().backward()
    assert raw.grad is not None
    assert torch.equal((raw.grad == 0).all(dim=1), is_hard)


def test_mixed_replaces_single_slots_by_random_windows_without_gradient():
    raw = scores(2000, 12)
    value = mixed(raw, Sinkhorn(3, epsilon=0.1), random=0.3)
    replaced = (value != topk.sinkhorn(raw, 3, epsilon=0.1).dense(12)).any(dim=2)  # (B, K)
    assert replaced.sum() == pytest.approx(1800, abs=5 * (6000 * 0.3 * 0.7) ** 0.5)
    drawn = value[replaced]
    assert torch.equal(drawn.sort(dim=1).values, torch.eye(12).double()[-1].expand_as(drawn))
    counts = drawn.sum(dim=0)  # each of 12 windows alike
    assert (counts - len(drawn) / 12).abs().max() < 5 * (len(drawn) / 12) ** 0.5
    everywhere = mixed(raw, random=1.0)
    assert (everywhere.sum(dim=1) <= 1).all()  # all different


def test_mixed_drops_candidates_from_all_slots_and_keeps_the_mean():
    raw = scores(1, 12).expand(4000, 12)
    soft = topk.sinkhorn(raw, 3, epsilon=0.1).dense(12)
    value = mixed(raw, Sinkhorn(3, epsilon=0.1), dropped=0.25)
    kept = value.sum(dim=1) > 0  # (B, N)
    assert torch.equal(value, torch.where(kept[:, None], soft / 0.75, 0))
    # five standard errors of the mean of weight x kept / 0.75
    error = 5 * soft[0] * (0.25 / 0.75 / 4000) ** 0.5
    assert ((value.mean(dim=0) - soft[0]).abs() <= error).all()


@pytest.mark.parametrize("name", ALL)
def test_a_selector_asks_its_own_mode_alone_whether_it_trains(name):
    select = ALL[name]()
    for mode in (True, False):
        select.train(mode)
        found = []
        for gradient in (True, False):
            torch.manual_seed(0)
            with torch.set_grad_enabled(gradient):
                found.append(select(scores()))
        assert same(*found)


@pytest.mark.parametrize("name", [name for name in ALL if "TopK" in name])
def test_the_noise_is_sigma_times_its_scale_wherever_the_selector_stands(name):
    found = []
    for sigma, scale in ((0.1, 0.5), (0.05, 1.0)):
        select = ALL[name]().train()
        (annealed,) = [each for each in select.modules() if isinstance(each, Annealed)]
        assert (annealed.sigma, annealed.noise_scale) == (0.1, 1.0)
        annealed.sigma, annealed.noise_scale = sigma, scale
        torch.manual_seed(0)
        found.append(select(scores()))
    assert same(*found)


def test_a_chance_outside_its_range_is_named():
    with pytest.raises(ValueError, match=r"random .* got 1\.5"):
        Mixed(Random(3), random=1.5)
    with pytest.raises(ValueError, match=r"dropped .* got 1"):
        Mixed(Random(3), dropped=1)
