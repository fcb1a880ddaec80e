"""The answer for a case: several images that belong together, such as the slides of a patient.

                                    probability of a class
a class means "nothing here"        that of the image with the least probability of nothing
sets of classes                     the largest of any image, for each class
otherwise                           the mean over the images

What is to be found is in one of the images, so the image that shows it decides. Where no class
means that there is nothing, no image is worth more than another.

References:
    Ilse et al., Attention-based Deep Multiple Instance Learning, ICML 2018: bags and their maximum
    and mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foveal.data.labels import LabelName, decode, joint_probability
from foveal.evaluation.thresholds import Thresholds

Shares = Mapping[str, float]
"""class -> probability"""


@dataclass(frozen=True)
class Case:
    """The prediction for a case, in plain values.

    Attributes:
        name: name of the case.
        label: label, as that of a `Result`; "" where no image could be predicted.
        probability: probability of the label, in [0, 1].
        probabilities: class -> probability; empty where no image could be predicted.
        images: number of images.
        failed: number of images that could not be predicted; they are left out.
        image: image with the highest probability of the label, "" if there is none.
    """

    name: str
    label: LabelName
    probability: float
    probabilities: dict[str, float]
    images: int
    failed: int
    image: str


def case_of(
    name: str,
    images: Sequence[tuple[str, Shares | None]],
    *,
    nothing: str | None,
    multilabel: bool,
    thresholds: Thresholds | None = None,
) -> Case:
    """Combine the predictions for the images of a case.

    Args:
        name: name of the case.
        images: names, and class -> probability, or None where an image could not be predicted.
        nothing: class of images with nothing to find in them; None: there is none.
        multilabel: whether a label is a set of classes.
        thresholds: thresholds of the classes; None: as `decode` without any.
    """
    known = [(file, shares) for file, shares in images if shares is not None]
    failed = len(images) - len(known)
    if not known:
        return Case(name, "", 0.0, {}, len(images), failed, "")
    shares = _pooled([shares for _, shares in known], nothing, multilabel=multilabel)
    least = None if thresholds is None else thresholds.classes
    label = decode(shares, multilabel=multilabel, thresholds=least)
    most, _ = max(known, key=lambda image: joint_probability(label, image[1]))
    share = joint_probability(label, shares)
    return Case(name, label, share, shares, len(images), failed, most)


def _pooled(images: Sequence[Shares], nothing: str | None, *, multilabel: bool) -> dict[str, float]:
    if multilabel:
        return {name: max(shares[name] for shares in images) for name in images[0]}
    if nothing is not None:
        return dict(min(images, key=lambda shares: shares[nothing]))
    return {name: sum(shares[name] for shares in images) / len(images) for name in images[0]}
