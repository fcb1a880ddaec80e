"""How the votes of windows make an answer: by the surest window, or by all together.

A sign or a defect is in one place, and the surest window tells it. What is counted or compared,
such as the commonest of several digits, no window tells by itself: a reader that learns from one
window of an image at a time learns from wrong labels. Frozen features say which of the two it is
before anything is trained: votes fitted to them are pooled in both ways.
"""

import math
from dataclasses import dataclass

import torch

from foveal.nn.aggregators import Vote
from foveal.objectives import label_loss
from foveal.phases.frozen_votes import fit_votes
from foveal.phases.reader import Reader
from foveal.phases.reading import features_of
from foveal.phases.strips import Strips
from foveal.proposals.survey import Progress

IMAGES, WINDOWS = 400, 8  # that are looked at: training images, and windows of an image
_MEAN = 0.1  # sharpness of votes that count together, to begin with
_CLEARLY = 0.7  # of the other loss


@dataclass(frozen=True)
class Pooling:
    """How well frozen features of several windows tell the labels of validation images.

    Attributes:
        surest: loss in nats where the surest window counts most.
        together: where all windows count the same.
    """

    surest: float
    together: float

    @property
    def joint(self) -> bool:
        """Whether windows tell the label together, and clearly none by itself."""
        return self.together < _CLEARLY * self.surest

    def apply(self, vote: Vote) -> None:
        """Let votes be pooled so to begin with; it is learned."""
        if self.joint:
            vote.log_sharpness.data.fill_(math.log(_MEAN))

    def __str__(self) -> str:
        how = "several windows tell the label together" if self.joint else "one window tells it"
        return (
            f"{how}: by frozen features loss {self.together:.2f} if all windows count the same, "
            f"{self.surest:.2f} if the surest counts most"
        )


@torch.no_grad()
def choose_pooling(
    reader: Reader,
    train: Strips,
    validation: Strips,
    *,
    class_weights: tuple[float, ...] | None,
    seed: int,
    progress: Progress,
) -> Pooling:
    """Fit votes of frozen features to the labels, pooled in both ways; the reader stays as it was.

    Args:
        reader: with the pretrained encoder.
        train: proposed windows of the training images, of which some are used.
        validation: proposed windows of the validation images.
        class_weights: of the loss, or None.
        seed: of the weights and the samples.
        progress: called with the number of images done, and of all.
    """
    n = min(len(train), IMAGES)
    some = [i * len(train) // n for i in range(n)]
    total = n + len(validation)
    features = features_of(reader, train, lambda done: progress(done, total), most=WINDOWS, of=some)
    others = features_of(reader, validation, lambda done: progress(n + done, total), most=WINDOWS)

    def loss(sharpness: float) -> float:
        like = Vote(reader.vote.features, classes=reader.vote.classes)
        like.nothing.copy_(reader.vote.nothing)
        like.log_sharpness.fill_(math.log(sharpness))
        network = fit_votes(
            features, train.labels[some], like=like, class_weights=class_weights, seed=seed
        )
        return float(label_loss(network.vote.pool(network(others)), validation.labels))

    return Pooling(surest=loss(float(reader.vote.log_sharpness.exp())), together=loss(_MEAN))
