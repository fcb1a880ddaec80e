"""What the scorer is taught: where the evidence of an image lies, over the cells of its view.

The target of an image is a distribution over the cells of its view,

    target_n  ~  sum over windows q about cell n of softmax(support)_q

with the log-odds that the votes of window q give to the image's label as support, and a weight: 0
where all windows support the label equally, 1 where a single one does. For a second glance there is
a target over the cells of the regions that it learns from, too.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveal.evaluation import evaluation_mode
from foveal.images import Image
from foveal.models import PatchClassifier
from foveal.models.second_glance import Regions
from foveal.nn.scorers import score
from foveal.windows import centres


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
        places: (N,), of sum 1; sparse or not.
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
    cells, inside = model.geometry.windows([image], torch.device("cpu"))
    _, near = _nearness(model, cells.view(-1, 4), inside.view(-1), windows)
    return Target((near / near.sum(dim=0) * share).sum(dim=1), _decided(share))


def _decided(share: Float[Tensor, " Q"]) -> float:
    """How unequal shares are: 1 less their entropy, relative to its largest."""
    entropy = float(torch.special.entr(share).sum())
    return 1 - entropy / math.log(len(share)) if len(share) > 1 else 1.0


def _nearness(
    model: PatchClassifier,
    cells: Int[Tensor, "N 4"],
    inside: Bool[Tensor, " N"],
    windows: Int[Tensor, "Q 4"],
) -> tuple[Float[Tensor, " Q"], Float[Tensor, "N Q"]]:
    """How far the nearest cell is from each window, in pixels, and how near all are, 0 to 1."""
    distance = (centres(cells)[:, None] - centres(windows)).abs().amax(dim=2)  # (N, Q)
    near = (1 - distance * (4 / min(model.patch))).clamp(min=0)
    least, nearest = distance.masked_fill(~inside[:, None], torch.inf).min(dim=0)
    near[nearest, torch.arange(len(windows))] += 1e-3  # a cell at least for every window
    return least, near * inside[:, None]


class CloserTarget(NamedTuple):
    """Where the evidence of an image is, over the cells of the regions of a second glance.

    Attributes:
        regions: of this image.
        target: over their cells.
    """

    regions: Regions
    target: Target


@torch.no_grad()
def closer_target_of(
    model: PatchClassifier,
    image: Image,
    windows: Int[Tensor, "Q 4"],
    support: Float[Tensor, " Q"],
    target: Target,
) -> CloserTarget:
    """Choose the regions that a second glance learns from, and spread over them what windows say.

    The regions are those of the best scores and of the most evidence, in turn. Windows outside
    them count nothing.

    Args:
        model: whose scorer is taught on the view already.
        image: that the windows lie in.
        windows: that were read.
        support: of each for the image's label.
        target: over the cells of the view.
    """
    assert model.second is not None
    device = next(model.parameters()).device
    with evaluation_mode(model):
        scores = score(model.scorer, model.geometry.views([image], device)).cpu()
    inside = model.geometry.windows([image], torch.device("cpu"))[1]
    scores = scores.masked_fill(~inside, -torch.inf).softmax(dim=1)
    places = target.places.to_dense()[None]
    ranked = scores / scores.max() + places / places.max()
    regions = model.second.choose([image], ranked, inside)
    distance, near = _nearness(model, regions.windows[0], regions.inside[0], windows)
    share = support.softmax(dim=0) * (distance <= min(model.patch) / 2)
    total = float(share.sum())
    spread = (near / near.sum(dim=0) * share).sum(dim=1) / max(total, 1e-6)
    return CloserTarget(regions, Target(spread, target.decided * total))
