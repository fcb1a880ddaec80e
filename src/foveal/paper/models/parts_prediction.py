"""Prediction with logits of the whole image alone and of each part."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.prediction import Prediction


@dataclass(frozen=True)
class PartsPrediction(Prediction):
    """A prediction with the logits of the whole image alone, and of each part.

    Attributes:
        whole_logits: logits of the whole image.
        part_logits: logits of each of the K patches.
    """

    whole_logits: Float[Tensor, "B classes"]
    part_logits: Float[Tensor, "B K classes"]


torch.export.register_dataclass(PartsPrediction)
