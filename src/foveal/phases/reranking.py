"""Re-rank: which proposed windows are worth reading, by what their frozen features tell.

Where exemplars predict nothing, windows are proposed by rarity, and most of them show no evidence.
Votes of frozen features, see `frozen_votes`, order them by their evidence. It costs a pass of the
encoder forward over the windows and seconds, and an encoder that reads the first windows only sees
the evidence far more often.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.data.labels import is_correct
from foveal.phases.frozen_votes import fit_votes
from foveal.phases.proposing import Proposed
from foveal.phases.reader import Reader
from foveal.phases.reading import features_of
from foveal.phases.strips import Strips
from foveal.proposals.survey import Progress


@dataclass(frozen=True)
class Reranked:
    """Windows in another order, and how much their frozen features tell.

    Attributes:
        proposed: the windows of most evidence first.
        accuracy: share of validation images whose label the frozen features tell.
    """

    proposed: Proposed
    accuracy: float


@torch.no_grad()
def rerank(
    reader: Reader,
    proposed: Proposed,
    train: Strips,
    validation: Strips,
    *,
    class_weights: tuple[float, ...] | None,
    seed: int,
    progress: Progress,
) -> Reranked:
    """Order the proposed windows by what frozen features tell; the reader stays as it was.

    Args:
        reader: with the pretrained encoder.
        proposed: windows of all images.
        train: all of them of the training images, as strips.
        validation: likewise of the validation images.
        class_weights: of the loss, or None.
        seed: of the weights and the samples.
        progress: called with the number of images done, and of all.
    """
    total = len(train) + len(validation)
    features = features_of(reader, train, lambda done: progress(done, total))
    others = features_of(reader, validation, lambda done: progress(len(train) + done, total))
    network = fit_votes(
        features, train.labels, like=reader.vote, class_weights=class_weights, seed=seed
    )
    votes, said = network(features), network(others)
    answers = network.vote.pool(said)
    order, other_order = (
        network.vote.evidence(each).argsort(dim=1, descending=True) for each in (votes, said)
    )
    return Reranked(
        replace(
            proposed,
            train=_ordered(proposed.train, order),
            validation=_ordered(proposed.validation, other_order),
        ),
        float(is_correct(answers, validation.labels).float().mean()),
    )


def _ordered(
    windows: tuple[Int[Tensor, "Q 4"], ...], order: Int[Tensor, "n Q"]
) -> tuple[Int[Tensor, "Q 4"], ...]:
    return tuple(some[places] for some, places in zip(windows, order, strict=True))
