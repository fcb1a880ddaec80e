"""The running average of weights is the one that its formula says, in the model when asked."""

from pathlib import Path

import pytest
import torch
from torch import nn

from foveal.runs.folder import RunFolder
from foveal.training.average import Average
from miniatures import settings
from miniatures_training import RANDOM, SPLITS, classifier, fit


class Small(nn.Module):
    """A parameter, statistics of a norm, and a buffer that is no mean of anything."""

    counter: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.register_buffer("counter", torch.tensor(0.0))


def changed(model: Small, number: int) -> dict[str, torch.Tensor]:
    """Other weights in a model, and a copy of them."""
    torch.manual_seed(number)
    with torch.no_grad():
        for weight in model.state_dict().values():
            weight.copy_(torch.rand_like(weight) if weight.is_floating_point() else weight + 1)
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def test_it_is_what_the_formula_says():
    model = Small()
    seen = [changed(model, 0)]
    average = Average(model, 0.4)
    for step in range(1, 6):
        seen.append(changed(model, step))
        average.update(step)
    name = "layers.0.weight"
    expected = seen[0][name]
    for step, weights in enumerate(seen[1:], 1):
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights[name]
    found = average.state_dict()
    torch.testing.assert_close(found[name], expected)
    assert not torch.equal(found["layers.1.running_mean"], seen[-1]["layers.1.running_mean"])
    for last in ("counter", "layers.1.num_batches_tracked"):
        assert torch.equal(found[last], seen[-1][last])


def test_it_is_in_the_model_for_a_moment_only():
    model = Small()
    average = Average(model, 0.9)
    began = {name: weight.clone() for name, weight in average.state_dict().items()}
    now = changed(model, 1)
    with average.in_model():
        assert all(torch.equal(model.state_dict()[name], weight) for name, weight in began.items())
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in now.items())


def test_a_training_ends_with_the_average_in_the_model_and_resumes_from_the_weights(
    tmp_path: Path,
):
    run, plain = RunFolder.create(tmp_path / "averaged"), RunFolder.create(tmp_path / "plain")
    averaged, model = classifier(), classifier()
    options = settings(RANDOM, ema_decay=0.9)
    fit(averaged, SPLITS, options, run=run, progress=False)
    fit(model, SPLITS, RANDOM, run=plain, progress=False)
    found, last, own = averaged.state_dict(), run.weights("last"), model.state_dict()
    assert all(torch.equal(last[name], weight) for name, weight in own.items())
    assert any(not torch.equal(found[name], weight) for name, weight in own.items())
    again = classifier()
    fit(again, SPLITS, options, run=run, resume=True, progress=False)
    assert all(torch.equal(again.state_dict()[name], weight) for name, weight in found.items())


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_is_a_fraction(decay: float):
    with pytest.raises(ValueError, match="ema_decay must be at least 0 and below 1"):
        settings(RANDOM, ema_decay=decay)
