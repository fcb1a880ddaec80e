"""Teach: a scorer learns from the votes of windows where to look in the small view.

The network of the scorer is frozen, so its features are computed once per image, and a pass over
all images costs a second. Each image says where its evidence is: the windows that a reader has
seen, as a distribution over the cells of the view,

    target_n  ~  sum over windows q about cell n of softmax(tau x support)_q

with the support that the votes of window q give to the image's label. The loss is the
cross-entropy of the scores' softmax, weighed by how decided the target is: where all windows
support the label alike, "nothing here" for instance, there is nothing to learn about places.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import AdamW

from foveal._seeding import ORDER, derived_generator
from foveal.data import Dataset
from foveal.models import PatchClassifier
from foveal.nn.scorers import BackboneScorer
from foveal.windows import centres

_PASSES, _BATCH, _LEARNING_RATE = 12, 16, 2e-3


@torch.no_grad()
def view_features(
    model: PatchClassifier, scorer: BackboneScorer, images: Dataset, index: int
) -> Float[Tensor, "1 D rows columns"]:
    """What the frozen network of the scorer makes of the view of an image."""
    device = next(scorer.parameters()).device
    view = model.geometry.views([images[index].image], device)
    return scorer.features(view)


def support(
    votes: Float[Tensor, "Q classes"], label: int | Tensor
) -> Float[Tensor, " Q"]:
    """What the vote of each window adds to the image's label, in nats: its log-odds.

    For several labels, their sum over the labels that the image bears.
    """
    if isinstance(label, int):
        others = votes.clone()
        others[:, label] = -torch.inf
        return votes[:, label] - others.logsumexp(dim=1)
    return (votes * label).sum(dim=1)


def target(
    cells: Float[Tensor, "N 2"],
    windows: Int[Tensor, "Q 4"],
    support: Float[Tensor, " Q"],
    *,
    reach: float,
) -> tuple[Float[Tensor, " N"], float]:
    """Where the evidence is, over the cells of the view, and how decided that is, in [0, 1].

    Args:
        cells: centres of the cells, in pixels of the image.
        windows: that were seen.
        support: of each window.
        reach: pixels from a window's centre to cells that see the same.
    """
    share = support.softmax(dim=0)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    decided = 1 - float(entropy) / math.log(len(share)) if len(share) > 1 else 1.0
    distance = (cells[:, None] - centres(windows)[None].to(cells)).abs().amax(dim=2)  # (N, Q)
    near = (1 - distance / reach).clamp(min=0)
    nearest = distance.argmin(dim=0)  # a cell at least for every window
    near[nearest, torch.arange(len(windows))] += 1e-3
    return (near / near.sum(dim=0) * share).sum(dim=1), decided


def teach(
    model: PatchClassifier,
    images: Dataset,
    targets: Sequence[tuple[Float[Tensor, " N"], float]],
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
        targets: see `target`; of each image.
        seed: of the order.
        passes: over the images.
        memory: bytes of features to keep, in half precision.
        progress: called with the number of images done, and of all, in all passes.
    """
    scorer = model.scorer
    assert isinstance(scorer, BackboneScorer)
    kept: dict[int, Tensor] = {}
    parameters = list(scorer.score.parameters())
    optimiser = AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.01)
    steps, done = passes * math.ceil(len(images) / _BATCH), 0
    for number in range(passes):
        order = torch.randperm(len(images), generator=derived_generator(seed, ORDER, number))
        for some in torch.split(order, _BATCH):
            features = []
            for index in some.tolist():
                if index not in kept:
                    each = view_features(model, scorer, images, index).half()
                    if (len(kept) + 1) * each.nbytes <= memory:
                        kept[index] = each
                features.append(kept.get(index, each))
            scores = scorer.score_features(torch.cat(features).float()).flatten(1)
            chosen = [targets[index] for index in some.tolist()]
            goal = torch.stack([place for place, _ in chosen]).to(scores)
            weight = torch.tensor([decided for _, decided in chosen]).to(scores)
            loss = -(goal * scores.log_softmax(dim=1)).sum(dim=1)
            optimiser.zero_grad()
            ((loss * weight).sum() / weight.sum().clamp(min=1e-6)).backward()
            optimiser.step()
            done += 1
            for group in optimiser.param_groups:
                group["lr"] = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done / steps))
            progress(done, steps)
