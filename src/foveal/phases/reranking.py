"""Re-rank: which proposed windows are worth reading, by what their frozen features tell.

Where exemplars predict nothing, windows are proposed by rarity, and most of them show no evidence.
A small network learns on frozen features of the windows what the labels of the images are, by
multiple-instance learning: a few windows of an image vote, and their pooled votes are its answer.
Windows are then ordered by their evidence. It costs a pass of the encoder forward over the windows
and seconds, and an encoder that reads the first windows only sees the evidence far more often.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import AdamW

from foveal._seeding import ORDER, derived_generator
from foveal.data.labels import is_correct
from foveal.evaluation import evaluation_mode
from foveal.experiment import seeded
from foveal.nn.aggregators import Vote
from foveal.objectives import label_loss
from foveal.phases.proposing import Proposed
from foveal.phases.reader import Reader
from foveal.phases.reading import features_of
from foveal.phases.strips import Strips
from foveal.proposals.survey import Progress
from foveal.schedules import cosine

_WIDTH, _STEPS, _BATCH, _WINDOWS, _LEARNING_RATE = 128, 800, 128, 8, 2e-3


@dataclass(frozen=True)
class Reranked:
    """Windows in another order, and how much their frozen features tell.

    Attributes:
        proposed: the windows of most evidence first.
        accuracy: share of validation images whose label the frozen features tell.
    """

    proposed: Proposed
    accuracy: float


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
    mean, deviation = features.mean(dim=(0, 1)), features.std(dim=(0, 1)) + 1e-3
    features, others = (features - mean) / deviation, (others - mean) / deviation
    nothing = int(reader.vote.nothing)
    with seeded(seed), torch.enable_grad():
        network = _Network(features.shape[2], reader.vote.classes, nothing)
        _fit(network, features, train, class_weights, seed)
    with evaluation_mode(network):
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


class _Network(nn.Module):
    """Votes of windows by their frozen features."""

    def __init__(self, features: int, classes: int, nothing: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Dropout(0.5), nn.Linear(features, _WIDTH), nn.GELU())
        self.vote = Vote(_WIDTH, classes=classes, dropout=0.3)
        self.vote.nothing.fill_(nothing)

    def forward(self, features: Float[Tensor, "n Q D"]) -> Float[Tensor, "n Q classes"]:
        return self.vote.votes(self.body(features))


def _fit(
    network: _Network,
    features: Float[Tensor, "n Q D"],
    images: Strips,
    class_weights: tuple[float, ...] | None,
    seed: int,
) -> None:
    n, count = features.shape[:2]
    weights = None if class_weights is None else torch.tensor(class_weights).clamp(max=3.0)
    share = 1 / (torch.arange(count) + 1.0)  # the first windows are drawn more often
    optimiser = AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=0.05)
    generator = derived_generator(seed, ORDER, 0)
    for step in range(_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * cosine(step / _STEPS)
        some = torch.randperm(n, generator=generator)[:_BATCH]
        drawn = torch.multinomial(
            share.expand(len(some), -1), min(_WINDOWS, count), generator=generator
        )
        votes = network(features[some[:, None], drawn])
        loss = label_loss(network.vote.pool(votes), images.labels[some], weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _ordered(
    windows: tuple[Int[Tensor, "Q 4"], ...], order: Int[Tensor, "n Q"]
) -> tuple[Int[Tensor, "Q 4"], ...]:
    return tuple(some[places] for some, places in zip(windows, order, strict=True))
