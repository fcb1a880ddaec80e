"""A prediction that also holds the answers from the whole image alone and from each part."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.prediction import Prediction


@dataclass(frozen=True)
class PartsPrediction(Prediction):
    """A prediction of a model that also answers from the whole image alone, and from each part.

    Attributes:
        whole_logits: from the whole image.
        part_logits: from each of the K close looks.
    """

    whole_logits: Float[Tensor, "B classes"]
    part_logits: Float[Tensor, "B K classes"]


torch.export.register_dataclass(PartsPrediction)
