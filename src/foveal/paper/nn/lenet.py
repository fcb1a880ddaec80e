"""LeNet, the encoder of single nuclei in multiple-instance learning."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LeNet(nn.Module):
    """Two convolutions of 5x5, each followed by a 2x2 maximum, and a dense layer; ReLU after each.

    The final maps of a patch of 27 px are 50 of 3 x 3. For patches of one size only; with 500
    features and patches of 27 px it has 252 070 parameters.

    Args:
        patch: (h, w) of a patch, in pixels, each 16 or more.
        channels: channels of the patches.
        features: D of the result.

    Raises:
        ValueError: the patches are too small.

    References:
        Ilse et al., Attention-based Deep Multiple Instance Learning, ICML 2018. The widths are
        those of a PyTorch port of attention sampling (sara-nl/attention-sampling-pytorch).
    """

    def __init__(self, patch: tuple[int, int], channels: int = 3, *, features: int = 500) -> None:
        super().__init__()
        if min(patch) < 16:
            raise ValueError(f"patches must be 16 px or more: got {patch[0]} x {patch[1]}")
        self.patch, self.channels, self.features = patch, channels, features
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        height, width = (((side - 4) // 2 - 4) // 2 for side in patch)
        self.dense = nn.Linear(50 * height * width, features)

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode every patch by itself."""
        maps: Tensor = self.layers(patches)
        return torch.relu(self.dense(maps.flatten(1)))
