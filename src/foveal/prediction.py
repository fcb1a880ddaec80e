"""What every model returns: the answer, and where it looked."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from foveal.topk import Selection


@dataclass(frozen=True)
class Prediction:
    """A model's answer together with everything it was made from.

    Attributes:
        logits: (B, classes).
        scores: raw relevance of the N windows, before normalisation.
        windows: top left bottom right in full-resolution pixels; (N, 4), or (B, N, 4) where the
            images differ in size.
        selection: which windows the K slots looked at.
        patches: the K close looks.
    """

    logits: Float[Tensor, "B classes"]
    scores: Float[Tensor, "B N"]
    windows: Int[Tensor, "*B N 4"]
    selection: Selection
    patches: Float[Tensor, "B K C h w"]
