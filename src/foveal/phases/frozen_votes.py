"""Votes of windows by their frozen features: a small network learns in seconds what they tell.

By multiple-instance learning: it knows the labels of images only. A few windows of an image vote,
and their pooled votes are its answer.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import AdamW

from foveal._seeding import ORDER, derived_generator
from foveal.experiment import seeded
from foveal.nn.aggregators import Vote
from foveal.objectives import label_loss
from foveal.schedules import cosine

_WIDTH, _STEPS, _BATCH, _WINDOWS, _LEARNING_RATE = 128, 800, 128, 8, 2e-3


class FrozenVotes(nn.Module):
    """Votes of windows by their features.

    Args:
        mean: of the features that it learns from.
        deviation: of these.
        like: votes in whose place it votes: their classes, class that means nothing, sharpness.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Float[Tensor, " D"], deviation: Float[Tensor, " D"], like: Vote):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.body = nn.Sequential(nn.Dropout(0.5), nn.Linear(len(mean), _WIDTH), nn.GELU())
        self.vote = Vote(_WIDTH, classes=like.classes, dropout=0.3)
        self.vote.nothing.fill_(int(like.nothing))
        self.vote.log_sharpness.data.copy_(like.log_sharpness.data)

    def forward(self, features: Float[Tensor, "n Q D"]) -> Float[Tensor, "n Q classes"]:
        """Return the logits of every window."""
        return self.vote.votes(self.body((features - self.mean) / self.deviation))


def fit_votes(
    features: Float[Tensor, "n Q D"],
    labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"],
    *,
    like: Vote,
    class_weights: tuple[float, ...] | None,
    seed: int,
) -> FrozenVotes:
    """Learn what windows tell, in evaluation mode.

    Args:
        features: of the windows of n images, the best windows first: these are drawn more often.
        labels: of the images.
        like: see `FrozenVotes`; it stays as it was.
        class_weights: of the loss, or None.
        seed: of the weights and the samples.
    """
    n, count = features.shape[:2]
    weights = None if class_weights is None else torch.tensor(class_weights).clamp(max=3.0)
    share = 1 / (torch.arange(count) + 1.0)
    with seeded(seed), torch.enable_grad():
        network = FrozenVotes(features.mean(dim=(0, 1)), features.std(dim=(0, 1)) + 1e-3, like)
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
            loss = label_loss(network.vote.pool(votes), labels[some], weights)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network.eval()
