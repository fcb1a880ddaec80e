"""How long the phases of a training take on this machine, and how many steps fit into minutes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foveal.settings import Beginning, Optimisation

if TYPE_CHECKING:
    from foveal.data import Splits
    from foveal.models import PatchClassifier

_READ_SHARE = 0.7  # of the time that proposals and teaching leave; looking gets the rest
_CROPS = 32  # of a measured step
_MINING = 0.15  # seconds per training image, after the features
_FEWEST_PASSES, _MOST_PASSES = 4, 120  # over the images, of reading


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine.

    Attributes:
        features: of the early features of a full-size image.
        window: of a window in a step of reading.
        view: of the scorer's features of a view.
        look: of an image in a step of looking.
    """

    features: float
    window: float
    view: float
    look: float


@dataclass(frozen=True)
class Forecast:
    """Minutes of each phase."""

    proposals: float
    read: float
    teach: float
    look: float

    @property
    def total(self) -> float:
        """Minutes of all phases."""
        return self.proposals + self.read + self.teach + self.look

    def __str__(self) -> str:
        return (
            f"about {self.total:.0f} minutes on this machine: proposals {self.proposals:.1f}, "
            f"read {self.read:.1f}, teach {self.teach:.1f}, look {self.look:.1f}"
        )


def measure(model: "PatchClassifier", splits: "Splits") -> Costs:
    """Time a step of every phase on images of the data; the model stays as it was.

    Args:
        model: with a frozen pretrained scorer, see `foveal.phases`.
        splits: its training images.
    """
    import copy

    import torch

    from foveal.nn.encoders import encode
    from foveal.nn.modes import evaluation_mode
    from foveal.phases.sequence import trunk_of_scorer

    model = copy.deepcopy(model)
    image = splits.train[0].image
    trunk = trunk_of_scorer(model)
    with torch.random.fork_rng(), torch.no_grad(), evaluation_mode(model):
        features = _timed(lambda: [None for _ in trunk.pieces(image)])
        view = model.geometry.views([image], trunk.device)
        seen = _timed(lambda: model.scorer(view))

    def step_of_reading() -> None:
        patches = torch.rand(1, _CROPS, model.channels, *model.patch, device=trunk.device)
        encode(model.encoder, patches).sum().backward()

    def step_of_looking() -> None:
        model([image, image]).logits.sum().backward()

    with torch.random.fork_rng():
        model.train()
        window = _timed(step_of_reading) / _CROPS
        look = _timed(step_of_looking) / 2
    return Costs(features, window, seen, look)


def fit_minutes(
    minutes: float,
    costs: Costs,
    splits: "Splits",
    beginning: Beginning,
    optimisation: Optimisation,
    *,
    windows: int = 2,
) -> tuple[Beginning, Optimisation]:
    """Choose the steps of reading and looking so that all phases take so many minutes.

    Steps that are given stay. Proposals and teaching take what they take: where they leave nothing,
    a few passes are read all the same.
    """
    n, batch = len(splits.train), optimisation.batch
    before = forecast(
        costs, splits, replace(beginning, read_steps=0), replace(optimisation, steps=0)
    )
    rest = 60 * (minutes - before.total)
    passes = [each * n / batch for each in (_FEWEST_PASSES, _MOST_PASSES)]
    read = rest * _READ_SHARE / (costs.window * windows * batch)
    read = min(max(read, passes[0]), passes[1])
    look = (rest - read * costs.window * windows * batch) / (costs.look * batch)
    look = min(max(look, 10), passes[1])
    return (
        replace(beginning, read_steps=beginning.read_steps or round(read)),
        replace(optimisation, steps=optimisation.steps or round(look)),
    )


def forecast(
    costs: Costs,
    splits: "Splits",
    beginning: Beginning,
    optimisation: Optimisation,
    *,
    windows: int = 2,
) -> Forecast:
    """Say how long the phases take.

    Args:
        costs: see `measure`.
        splits: the images.
        beginning: with the steps of reading.
        optimisation: with the steps of looking.
        windows: of an image in a step of reading.
    """
    n, validation = len(splits.train), len(splits.validation)
    batch = optimisation.batch
    return Forecast(
        ((n + min(n, 64) + validation) * costs.features + n * _MINING) / 60,
        beginning.read_steps * batch * windows * costs.window / 60,
        n * (costs.view + beginning.proposals * costs.window / 3) / 60,
        (optimisation.steps * batch + 20 * validation / 3) * costs.look / 60,
    )


def _timed(action: Callable[[], object], repeats: int = 2) -> float:
    """The fewest seconds of a call, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)
