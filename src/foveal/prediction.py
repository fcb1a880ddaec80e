"""What every model returns: class logits and where the model looked."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map

from foveal.topk import Selection

P = TypeVar("P", bound="Prediction")


@dataclass(frozen=True)
class Prediction:
    """Class logits with everything they were computed from; a pytree of its tensors.

    A subclass registers itself too: `torch.export.register_dataclass(Subclass)`.

    Attributes:
        logits: (B, classes).
        scores: raw relevance of the N windows, before normalisation.
        windows: top left bottom right in full-resolution pixels; (N, 4), or (B, N, 4) where the
            images differ in size.
        selection: which windows the K slots look at.
        patches: what the K slots see at full resolution.
    """

    logits: Float[Tensor, "B classes"]
    scores: Float[Tensor, "B N"]
    windows: Int[Tensor, "*B N 4"]
    selection: Selection
    patches: Float[Tensor, "B K C h w"]

    def to(self: P, device: torch.device | str) -> P:
        """The prediction on another device."""
        moved: P = tree_map(lambda tensor: tensor.to(device), self)
        return moved

    def detach(self: P) -> P:
        """The prediction without its history of gradients."""
        detached: P = tree_map(Tensor.detach, self)
        return detached


torch.export.register_dataclass(Prediction)
