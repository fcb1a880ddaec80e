"""Teach: a scorer learns from the votes of windows where to look in the small view.

The network of the scorer is frozen, so its features are computed once per image; of so many images
as memory holds them, those first whose windows differ most. The target of an image is a
distribution over the cells of its view,

    target_n  ~  sum over windows q about cell n of softmax(support)_q

with the log-odds that the votes of window q give to the image's label as support. The loss is the
cross-entropy of the scores' softmax, with a weight for each image: 0 where all windows support the
label equally, 1 where a single one does.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor
from torch.optim import AdamW

from foveal._seeding import ORDER, derived_generator
from foveal.data import Dataset
from foveal.images import Image
from foveal.models import PatchClassifier
from foveal.nn.scorers import BackboneScorer
from foveal.schedules import cosine
from foveal.windows import centres

_PASSES, _BATCH, _LEARNING_RATE = 12, 16, 2e-3
_FEWEST = 64  # images to teach with, whatever memory they take


def support_of(votes: Float[Tensor, "Q classes"], label: int | Tensor) -> Float[Tensor, " Q"]:
    """What the vote of each window adds to the image's label, in nats: its log-odds.

    For several labels, their sum over the labels that the image bears.
    """
    if isinstance(label, int):
        others = votes.clone()
        others[:, label] = -torch.inf
        return votes[:, label] - others.logsumexp(dim=1)
    return (votes * label).sum(dim=1)


class Target(NamedTuple):
    """Where the evidence of an image is, over the cells of its view.

    Attributes:
        places: (N,), of sum 1.
        decided: in [0, 1]; 0: no cell is better than another.
    """

    places: Float[Tensor, " N"]
    decided: float


def target_of(
    model: PatchClassifier,
    image: Image,
    windows: Int[Tensor, "Q 4"],
    support: Float[Tensor, " Q"],
) -> Target:
    """Spread what windows say over the cells of the view that see the same.

    Args:
        model: whose view it is.
        image: that the windows lie in.
        windows: that were read.
        support: of each for the image's label, see `support_of`.
    """
    share = support.softmax(dim=0)
    entropy = float(torch.special.entr(share).sum())
    decided = 1 - entropy / math.log(len(share)) if len(share) > 1 else 1.0
    cells, inside = _cells(model, image)
    distance = (cells[:, None] - centres(windows)).abs().amax(dim=2)  # (N, Q)
    near = (1 - distance * (4 / min(model.patch))).clamp(min=0)
    nearest = distance.masked_fill(~inside[:, None], torch.inf).argmin(dim=0)
    near[nearest, torch.arange(len(windows))] += 1e-3  # a cell at least for every window
    near = near * inside[:, None]
    return Target((near / near.sum(dim=0) * share).sum(dim=1), decided)


def _cells(model: PatchClassifier, image: Image) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
    """Centres of the cells of the view in the image, and whether they lie inside."""
    windows, inside = model.geometry.windows([image], torch.device("cpu"))
    return centres(windows).view(-1, 2), inside.view(-1)


def teach(
    model: PatchClassifier,
    images: Dataset,
    targets: Sequence[Target],
    *,
    seed: int,
    passes: int = _PASSES,
    memory: int = 2**30,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Train the last layers of the scorer on targets; nothing else of the model changes.

    Args:
        model: with a frozen `BackboneScorer`.
        images: training images.
        targets: of each image.
        seed: of the order.
        passes: over the images.
        memory: bytes of features to keep, in half precision. Where the images need more, those that
            say least about where to look are left out.
        progress: called with the number of steps done, and of all.
    """
    scorer = model.scorer
    assert isinstance(scorer, BackboneScorer)
    kept = _KeptFeatures(model, scorer, images)
    most = max(_FEWEST, memory // kept[0].nbytes)
    decided = torch.tensor([target.decided for target in targets])
    chosen = decided.argsort(descending=True, stable=True)[:most].sort().values
    optimiser = AdamW(scorer.score.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    steps, done = passes * math.ceil(len(chosen) / _BATCH), 0
    for number in range(passes):
        order = chosen[
            torch.randperm(len(chosen), generator=derived_generator(seed, ORDER, number))
        ]
        for some in torch.split(order, _BATCH):
            for group in optimiser.param_groups:
                group["lr"] = _LEARNING_RATE * cosine(done / steps)
            features = torch.cat([kept[index] for index in some.tolist()]).float()
            scores = scorer.score_features(features).flatten(1)
            loss = _loss(scores, [targets[index] for index in some.tolist()])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            done += 1
            progress(done, steps)


def _loss(scores: Float[Tensor, "B N"], targets: Sequence[Target]) -> Float[Tensor, ""]:
    places = torch.stack([target.places for target in targets]).to(scores)
    weights = torch.tensor([target.decided for target in targets]).to(scores)
    losses = -(places * scores.log_softmax(dim=1)).sum(dim=1)
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


class _KeptFeatures:
    """What the frozen network of the scorer makes of the views, computed once."""

    def __init__(self, model: PatchClassifier, scorer: BackboneScorer, images: Dataset) -> None:
        self.model, self.scorer, self.images = model, scorer, images
        self.device = next(scorer.parameters()).device
        self._kept = dict[int, Tensor]()

    @torch.no_grad()
    def __getitem__(self, index: int) -> Float16[Tensor, "1 D rows columns"]:
        if index in self._kept:
            return self._kept[index]
        view = self.model.geometry.views([self.images[index].image], self.device)
        self._kept[index] = self.scorer.features(view).half()
        return self._kept[index]
