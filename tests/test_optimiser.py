"""Laws of the optimiser: which parameters learn how fast, and how noisy the selection is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.nn.selectors import Hard, TopK
from foveal.paper.nn.selectors import Mixed
from foveal.prediction import Prediction
from foveal.training.optimiser import apply_schedules, build_optimiser
from miniatures import settings
from miniatures_training import RANDOM, SPLITS, classifier, fit


def test_a_scorer_that_waits_stays_as_it_began_and_then_learns():
    options = settings(
        steps=4, batch=4, scorer_delay=0.5, learning_rate=0.01, weight_decay=0.1
    ).optimisation
    model = classifier()
    rule = build_optimiser(model, options)
    began = [weight.detach().clone() for weight in model.scorer.parameters()]
    for step in range(4):
        apply_schedules(model, rule, options, step)
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        rule.step()
        now = list(model.scorer.parameters())
        same = [torch.equal(a, b) for a, b in zip(began, now, strict=True)]
        assert all(same) if step < 2 else not any(same)


def test_weights_decay_but_biases_and_norms_do_not():
    model, options = classifier(), settings(RANDOM, weight_decay=0.3).optimisation
    decays = {
        id(weight): group["weight_decay"]
        for group in build_optimiser(model, options).param_groups
        for weight in group["params"]
    }
    assert len(decays) == len(list(model.parameters()))
    for weight in model.parameters():
        assert decays[id(weight)] == (0.3 if weight.ndim > 1 else 0.0)


def test_scorer_and_encoder_have_rates_of_their_own():
    model = classifier()
    options = settings(RANDOM, scorer_lr_scale=2.0, encoder_lr_scale=0.5, warm_up=0.0).optimisation
    rule = build_optimiser(model, options)
    rate, _ = apply_schedules(model, rule, options, 0)
    rates = {id(w): group["lr"] for group in rule.param_groups for w in group["params"]}
    assert rate == 0.01
    assert {rates[id(w)] for w in model.scorer.parameters()} == {0.02}
    assert {rates[id(w)] for w in model.encoder.parameters()} == {0.005}
    assert {rates[id(w)] for w in model.head.parameters()} == {0.01}


def test_the_noise_falls_linearly_from_the_sigma_the_selector_was_built_with_and_is_never_zero():
    model, options = classifier(select=TopK(2, sigma=0.08)), settings(RANDOM, steps=4).optimisation
    rule = build_optimiser(model, options)
    noise = [apply_schedules(model, rule, options, step)[1] for step in range(4)]
    assert noise == pytest.approx([0.08, 0.06, 0.04, 0.02])
    assert model.select.sigma == 0.08
    assert model.select.noise_scale == 0.25


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_training_uses_the_sigma_of_the_selector_however_deep_it_lies(sigma: float):
    for select in (TopK(2, sigma=sigma), Mixed(TopK(2, sigma=sigma), random=0.5)):
        rows = fit(classifier(select=select), SPLITS, settings(RANDOM, steps=2), progress=False)
        assert rows[-1]["sigma"] == sigma / 2


def test_a_model_without_noise_has_no_sigma():
    rows = fit(classifier(select=Hard(2)), SPLITS, settings(RANDOM, steps=1), progress=False)
    assert rows[-1]["sigma"] is None


class Wrapped(nn.Module):
    """A model inside another module, which tells nothing of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model

    def forward(self, images: Tensor) -> Prediction:
        return self._orig_mod(images)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), Wrapped])
def test_a_wrapped_model_has_the_groups_and_the_noise_of_the_bare_one(wrap: Any):
    options = settings(RANDOM, scorer_lr_scale=2.0, encoder_lr_scale=0.5).optimisation
    model = classifier(select=TopK(2, sigma=0.08))
    seen = []
    for each in (model, wrap(model)):
        rule = build_optimiser(each, options)
        scheduled = apply_schedules(each, rule, options, 3)
        groups = [
            {k: [*map(id, v)] if k == "params" else v for k, v in group.items()}
            for group in rule.param_groups
        ]
        seen.append((groups, scheduled, model.select.noise_scale))
        model.select.noise_scale = 1.0
    assert seen[0] == seen[1]
    assert {group["part"] for group in seen[0][0]} == {"scorer", "encoder", "rest"}


def test_the_rate_falls_at_its_milestones_whatever_the_warm_up():
    # the paper's birds: 31 300 steps, 5 % of them warm-up, a tenth from step 18 780 and 25 040 on
    options = settings(
        steps=31_300, warm_up=0.05, schedule="multi_step", learning_rate=1.0
    ).optimisation
    model = classifier()
    rule = build_optimiser(model, options)
    steps = (0, 313, 1565, 18_779, 18_780, 25_039, 25_040, 31_299)
    rates = [apply_schedules(model, rule, options, step)[0] for step in steps]
    assert rates == pytest.approx([0, 0.2, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_model_that_is_frozen_altogether_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimiser(classifier().requires_grad_(False), RANDOM.optimisation)
