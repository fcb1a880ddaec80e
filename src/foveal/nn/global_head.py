"""The global head: what the small view as a whole says about the class."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GlobalHead(nn.Module):
    """A linear classifier of the features that a frozen scorer computes anyway.

    It begins with zero weights and is fitted, not trained by gradient steps: see
    `foveal.phases.view_classifier`.

    Args:
        features: D of the scorer's network.
        classes: number of classes.

    References:
        Shen et al., An interpretable classifier for high-resolution breast cancer screening images
        utilizing weakly supervised localization, Medical Image Analysis 2021 (its global module).
    """

    def __init__(self, features: int, *, classes: int) -> None:
        super().__init__()
        self.features, self.classes = features, classes
        self.linear = nn.Linear(2 * features, classes).requires_grad_(False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Float[Tensor, "B D rows columns"]) -> Float[Tensor, "B classes"]:
        """Return logits."""
        logits: Tensor = self.linear(summary(maps))
        return logits


def summary(maps: Float[Tensor, "B D rows columns"]) -> Float[Tensor, "B E"]:
    """Mean and largest value of every feature over the view."""
    return torch.cat((maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))), dim=1)
