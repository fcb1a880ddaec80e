"""Teach: a scorer learns from the votes of windows where to look in the small view.

The network of the scorer is frozen, so its features are computed once per image: of the images
whose windows differ most, those that hold nine tenths of what there is to learn, as far as memory
holds them. The loss is the cross-entropy of the scores' softmax to the targets of
`foveal.phases.targets`.

Where the model glances twice, the same layers then learn from both resolutions: from the view, and
from the closer view of the regions that the scorer would look at again and of those that hold the
evidence.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float16
from torch import Tensor
from torch.optim import AdamW

from foveal._precision import rounding
from foveal._seeding import ORDER, derived_generator
from foveal.data import Dataset
from foveal.models import PatchClassifier
from foveal.models.second_glance import Regions
from foveal.nn.scorers import BackboneScorer
from foveal.phases.targets import CloserTarget, Target
from foveal.schedules import cosine
from foveal.settings import Precision

_BATCH, _LEARNING_RATE = 16, 2e-3
_FEWEST = 64  # images to teach with, whatever memory they take
_MOST_OF_IT = 0.9  # of the sum of how decided the targets are: more images are not needed
_CELLS_AT_ONCE = 2**18  # whose features are in single precision together
_OUTSIDE = -1e4  # score of what cannot be selected


def passes_over(images: int) -> int:
    """How often so many images are learned from: 4 times, few of them for 100 steps at least.

    >>> passes_over(1000), passes_over(160)
    (4, 10)
    """
    return max(4, math.ceil(100 * _BATCH / max(1, images)))


def teach(
    model: PatchClassifier,
    images: Dataset,
    targets: Sequence[Target],
    *,
    seed: int,
    passes: int | None = None,
    memory: int = 2**30,
    closer: Sequence[CloserTarget] = (),
    precision: Precision = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Train the last layers of the scorer on targets; nothing else of the model changes.

    Args:
        model: with a frozen `BackboneScorer`.
        images: training images.
        targets: of each image.
        seed: of the order.
        passes: over the images; None: as `passes_over` says.
        memory: bytes of features to keep, in half precision. Where the images need more, fewer
            teach.
        closer: of each image, if the scorer is to learn from a second glance, too.
        precision: that the frozen network computes with.
        progress: called with the number of steps done, and of all.
    """
    scorer = model.scorer
    assert isinstance(scorer, BackboneScorer)
    views = _View(model, scorer, images, targets, precision)
    sights = [views]
    if closer:
        sights.append(_CloserView(model, scorer, images, closer, precision))
    most = max(_FEWEST, memory // sum(sight[0].nbytes for sight in sights))
    decided = torch.tensor([target.decided for target in targets])
    ranked = decided.argsort(descending=True, stable=True)
    enough = 1 + int((decided[ranked].cumsum(dim=0) < _MOST_OF_IT * decided.sum()).sum())
    chosen = ranked[: min(most, max(enough, _FEWEST))].sort().values
    passes = passes_over(len(chosen)) if passes is None else passes
    optimiser = AdamW(scorer.score.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    steps, done = passes * math.ceil(len(chosen) / _BATCH), 0
    for number in range(passes):
        order = chosen[
            torch.randperm(len(chosen), generator=derived_generator(seed, ORDER, number))
        ]
        for some in torch.split(order, _BATCH):
            for group in optimiser.param_groups:
                group["lr"] = _LEARNING_RATE * cosine(done / steps)
            optimiser.zero_grad()
            for sight in sights:
                sight.learn(some.tolist(), 1 / len(sights))
            optimiser.step()
            done += 1
            progress(done, steps)


class _View:
    """What the frozen network of the scorer makes of the views, computed once."""

    def __init__(
        self,
        model: PatchClassifier,
        scorer: BackboneScorer,
        images: Dataset,
        targets: Sequence[Target],
        precision: Precision,
    ) -> None:
        self.model, self.scorer, self.images, self.targets = model, scorer, images, targets
        self.precision = precision
        self.device = next(scorer.parameters()).device
        self._kept = dict[int, Tensor]()

    def learn(self, some: list[int], share: float) -> None:
        """Add to the gradient of the scorer's last layers what the images with these numbers say.

        Args:
            some: the images of a step.
            share: of this sight in the loss.
        """
        weights = torch.tensor([self.targets[index].decided for index in some]).to(self.device)
        total = weights.sum().clamp(min=1e-6)
        at_once = max(1, _CELLS_AT_ONCE // self.targets[some[0]].places.numel())
        for start in range(0, len(some), at_once):
            part = some[start : start + at_once]
            scores = self.scores(part)
            places = torch.stack([self.targets[index].places.to_dense() for index in part])
            losses = -(places.to(scores) * scores.log_softmax(dim=1)).sum(dim=1)
            loss = (losses * weights[start : start + at_once]).sum() / total
            (loss if share == 1 else loss * share).backward()  # type: ignore[no-untyped-call]

    def scores(self, some: list[int]) -> Float[Tensor, "B N"]:
        """Scores of the cells of images."""
        features = torch.cat([self[index] for index in some]).float()
        return self.scorer.score_features(features).flatten(1)

    def inputs(self, index: int) -> Float[Tensor, "_b C _h _w"]:
        """What is seen of an image."""
        return self.model.geometry.views([self.images[index].image], self.device)

    @torch.no_grad()
    def __getitem__(self, index: int) -> Float16[Tensor, "_b D rows columns"]:
        if index in self._kept:
            return self._kept[index]
        inputs = self.inputs(index)
        with rounding(self.precision, inputs.device.type):
            features = self.scorer.features(inputs)
        self._kept[index] = features.half()
        return self._kept[index]


class _CloserView(_View):
    """The same of the regions of a second glance."""

    def __init__(
        self,
        model: PatchClassifier,
        scorer: BackboneScorer,
        images: Dataset,
        closer: Sequence[CloserTarget],
        precision: Precision,
    ) -> None:
        super().__init__(model, scorer, images, [each.target for each in closer], precision)
        self.closer = closer

    def scores(self, some: list[int]) -> Float[Tensor, "B N"]:
        assert self.model.second is not None
        maps = super().scores(some)  # (B M, n)
        each = zip(*(self.closer[index].regions for index in some), strict=True)
        regions = Regions(*(torch.cat(parts).to(maps.device) for parts in each))
        found = self.model.second.of_maps(maps, regions)
        return torch.where(regions.inside, found, _OUTSIDE)

    def inputs(self, index: int) -> Float[Tensor, "_b C _h _w"]:
        assert self.model.second is not None
        regions = self.closer[index].regions
        boxes = self.model.second.boxes([self.images[index].image], regions)
        return boxes.flatten(0, 1).to(self.device)
