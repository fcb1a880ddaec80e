"""What mining learned about each question, and the exemplars to look at."""

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """How well exemplars answer one question.

    Attributes:
        question: "cat", or "not cat" where the exemplars stand for all other images.
        auc: of the most evidence in an image, over images not used, in [0, 1].
        deviation: of that AUC if exemplars meant nothing.
        images: number of images that bear the label.
        weight: of its exemplars in the evidence, in [0, 1]; 0: left out.
    """

    question: str
    auc: float
    deviation: float
    images: int
    weight: float


@dataclass(frozen=True)
class Exemplar:
    """A place in a mined image that tells a label, to look at.

    Attributes:
        question: that it answers.
        image: number of the image.
        window: top, left, bottom, right in pixels.
        nats: how purely it ranks the other images by the label.
        crop: (C, h, w), its pixels.
    """

    question: str
    image: int
    window: tuple[int, int, int, int]
    nats: float
    crop: UInt8[Tensor, "C h w"]
