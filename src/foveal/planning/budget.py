"""How long the phases of a training take on this machine, and how many steps fit into minutes."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean

import torch
from torch import Tensor
from torch.optim import AdamW

from foveal._devices import best_device
from foveal._precision import rounding
from foveal.data import Splits
from foveal.data.dataset import sizes
from foveal.models import PatchClassifier
from foveal.nn.encoders import encode
from foveal.nn.modes import evaluation_mode
from foveal.nn.scorers import BackboneScorer
from foveal.phases.pooling import IMAGES, WINDOWS
from foveal.phases.preparing import proposal_halvings, trunk_of_scorer
from foveal.phases.sequence import TAUGHT
from foveal.phases.strips import Draw, margin_of, strip_windows
from foveal.phases.teaching import passes_over
from foveal.planning import sizing
from foveal.settings import Beginning, Optimisation

_READ_SHARE = 0.85  # of the time that proposals and teaching leave; looking gets the rest
_IMAGES = 2  # of a measured step on the CPU
_MINING = 0.15  # seconds per training image, after the features
_VALIDATIONS = 20  # of a training end to end
_LONG = 4.0  # seconds
_PROPOSALS_SHARE = 1 / 2  # of the minutes at most
_LARGE, _LEAST_PATCH = 16.0, 32  # megapixels that can be shrunk; pixels that a patch keeps else
_FEWEST, _MOST = 4, 120  # passes over the images
_ENOUGH = 10  # passes of reading; where there are fewer, looking is validated at its end only


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine.

    Attributes:
        features: of the early features of a full-size image.
        window: of a window in a step of reading.
        view: of the scorer's features of a view.
        look: of an image in a step of looking.
        searched: megapixels of an image, on average, that the features are of.
        halvings: of its sides, before it is searched.
        lesson: of the scorer's last layers, which learn from the features of a view.
    """

    features: float
    window: float
    view: float
    look: float
    searched: float = 0.0
    halvings: int = 0
    lesson: float = 0.0


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


def measure(
    model: PatchClassifier, splits: Splits, batch: int, beginning: Beginning | None
) -> Costs:
    """Time a step of every phase on images of the data, on the GPU if there is one.

    On a CPU time grows with the images of a step, and few are timed; a GPU takes about as long for
    one as for many, so there a step is timed as large as it is. The model stays as it was.

    Args:
        model: to be trained.
        splits: its training images.
        batch: images of a step, and windows of a step of reading.
        beginning: the phases before the last, which need a frozen pretrained scorer; None: none.
    """
    device = best_device()
    model = copy.deepcopy(model).to(device)
    count = _IMAGES if device == "cpu" else batch
    images = [splits.train[0].image] * count

    def look_at() -> None:
        with rounding("auto", device):
            logits = model(images).logits
        _backward(logits)

    with torch.random.fork_rng():
        model.train()
        look = _timed(look_at) / len(images)
        if beginning is None:
            return Costs(0.0, 0.0, 0.0, look)
        trunk, scorer = trunk_of_scorer(model), model.scorer
        assert isinstance(scorer, BackboneScorer)
        trunk = trunk.reduced(proposal_halvings(splits.train, trunk, beginning))
        areas = [height * width / 1e6 for height, width in sizes(splits.train)]
        searched = sum(areas) / len(areas) / 4**trunk.halvings
        window = _timed(_reading(model, batch, beginning.proposals)) / batch
        with torch.no_grad(), evaluation_mode(model):
            features = _timed(lambda: [None for _ in trunk.pieces(images[0])])
            view = model.geometry.views(images[:1], trunk.device)
            with rounding("auto", device):
                seconds = _timed(lambda: scorer(view))
            maps = scorer.features(view)
        lesson = _timed(lambda: _backward(scorer.score_features(maps)))
        return Costs(features, window, seconds, look, searched, trunk.halvings, lesson)


def fit_minutes(
    minutes: float,
    costs: Costs,
    beginning: Beginning | None,
    optimisation: Optimisation,
    *,
    images: int,
    validation: int,
    patch: int | None,
) -> tuple[Beginning | None, Optimisation]:
    """Choose the steps of reading and looking so that all phases take so many minutes.

    Steps that are given stay. Where proposals would take more than half of the time, images are
    shrunk for them, as far as a patch keeps 32 px or images have more than 16 megapixels. Where
    there is little time to read, looking is validated once; where there is none, a few passes are
    made all the same. Reading has more steps where proposals predict the labels, so that windows
    are not re-ranked.

    Args:
        minutes: that all phases may take.
        costs: see `measure`.
        beginning: the phases before the last.
        optimisation: of the last phase.
        images: number of training images.
        validation: number of validation images.
        patch: side of a patch in pixels; None: images are searched as they were measured.
    """
    least, most = (passes * images / optimisation.batch for passes in (_FEWEST, _MOST))
    counts = {"images": images, "validation": validation}
    if beginning is not None and patch is not None:
        costs, beginning = _in_time(minutes, costs, beginning, optimisation, patch=patch, **counts)

    def rest_of(begun: Beginning | None, validated: int, *, reranked: bool = True) -> float:
        few = replace(optimisation, steps=validated, validate_every=1)
        taken = forecast(costs, begun, few, reranked=reranked, **counts)
        return 60 * (minutes - taken.total) + validated * optimisation.batch * costs.look

    if beginning is None:
        steps = max(rest_of(None, _VALIDATIONS) / (costs.look * optimisation.batch), least)
        return None, replace(optimisation, steps=optimisation.steps or max(1, round(steps)))
    unread, read_step = replace(beginning, read_steps=0), costs.window * optimisation.batch
    validations = sizing.LATER_VALIDATIONS
    if (rest := rest_of(unread, validations)) < _ENOUGH * images * costs.window:
        rest, validations = rest_of(unread, 1), 1
    read = min(max(rest * _READ_SHARE / read_step, least), most)
    look_step = costs.look * optimisation.batch
    look = min(max((rest - read * read_step) / look_step, least / 10), most)
    rest = rest_of(unread, validations, reranked=False)
    trusted = min(max((rest - look * look_step) / read_step, read), most)
    if not beginning.read_steps:
        steps, trusted_steps = (max(1, round(each)) for each in (read, trusted))
        beginning = replace(beginning, read_steps=steps, trusted_read_steps=trusted_steps)
    return (
        beginning,
        sizing.last_phase(optimisation, optimisation.steps or max(1, round(look)), validations),
    )


def _in_time(
    minutes: float,
    costs: Costs,
    beginning: Beginning,
    optimisation: Optimisation,
    *,
    images: int,
    validation: int,
    patch: int,
) -> tuple[Costs, Beginning]:
    """Shrink images for the proposals until these take half of the time."""
    few = replace(optimisation, steps=1, validate_every=1)

    def too_long() -> bool:
        taken = forecast(costs, beginning, few, images=images, validation=validation)
        return taken.proposals > _PROPOSALS_SHARE * minutes

    def can_shrink() -> bool:
        return costs.searched > _LARGE or patch >= 2 * _LEAST_PATCH << costs.halvings

    while can_shrink() and too_long():
        costs = replace(
            costs,
            features=costs.features / 4,
            searched=costs.searched / 4,
            halvings=costs.halvings + 1,
        )
        shrunk = math.ceil(100 * costs.searched) / 100
        beginning = replace(beginning, proposal_megapixels=shrunk)
    return costs, beginning


def forecast(
    costs: Costs,
    beginning: Beginning | None,
    optimisation: Optimisation,
    *,
    images: int,
    validation: int,
    reranked: bool = True,
) -> Forecast:
    """Say how long the phases take.

    Args:
        costs: see `measure`.
        beginning: with the steps of reading.
        optimisation: with the steps of looking.
        images: number of training images.
        validation: number of validation images.
        reranked: whether windows are, as where proposals do not predict the labels.
    """
    n, batch = images, optimisation.batch
    validations = math.ceil(optimisation.steps / optimisation.validation_interval) + 1
    looked = optimisation.steps * batch + validations * validation / 3  # a pass forward: a third
    look = looked * costs.look / 60
    if beginning is None:
        return Forecast(0.0, 0.0, 0.0, look)
    with_head = beginning.baseline or beginning.global_head
    compared = costs.view * (n + validation) if with_head else 0.0
    taught = min(beginning.proposals, TAUGHT)
    told = (min(n, IMAGES) + validation) * WINDOWS * costs.window / 3
    reranking = (n + validation) * beginning.proposals * costs.window / 3 if reranked else 0.0
    return Forecast(
        ((n + min(n, 64) + validation) * costs.features + n * _MINING + compared) / 60,
        (beginning.read_steps * batch * costs.window + told + reranking) / 60,
        n * (costs.view + taught * costs.window / 3 + passes_over(n) * costs.lesson) / 60,
        look,
    )


def _reading(model: PatchClassifier, batch: int, proposals: int) -> Callable[[], None]:
    """A step of reading: draw windows, encode them, change the encoder."""
    device, patch = next(model.parameters()).device, model.patch[0]
    side = patch + 2 * margin_of(patch)
    strip = torch.zeros(model.channels, proposals * side, side, dtype=torch.uint8)
    draw = Draw(count=1, patch=patch, shift=margin_of(patch))
    generator = torch.Generator().manual_seed(0)
    optimiser = AdamW(model.roles()["encoder"].parameters(), lr=0.0, fused=True)

    def step() -> None:
        windows = [strip_windows(draw(strip, generator)) for _ in range(batch)]
        with rounding("auto", device.type):
            features = encode(model.encoder, torch.stack(windows).to(device))
        _backward(features)
        optimiser.step()
        optimiser.zero_grad()

    return step


def _backward(result: Tensor) -> None:
    result.sum().backward()  # type: ignore[no-untyped-call]


def _timed(action: Callable[[], object], repeats: int = 2) -> float:
    """Mean seconds of a call, after one to warm up; a long one is not repeated."""
    times = list[float]()
    for _ in range(1 + repeats):
        if sum(times) > _LONG:
            break
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return mean(times[1:] or times)
