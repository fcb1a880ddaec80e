"""The prediction for one image, together with the picture that shows where the model looked."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as Pillow
from torch import nn

from foveal.evaluation import Hits, Input, Result, predict_inputs
from foveal.prediction import Prediction
from foveal.report.explanation_figure import explanation


class Look(NamedTuple):
    """One image, explained.

    Attributes:
        result: the prediction in plain values.
        picture: score map, windows and patches; None where the result is an error.
        hits: whether the windows cover the boxes; None without boxes.
    """

    result: Result
    picture: Pillow.Image | None
    hits: Hits | None


def explain(
    model: nn.Module, asked: Input, classes: Sequence[str], *, multilabel: bool = False
) -> Look:
    """Predict one image and draw where the model looked.

    Args:
        model: from images to a `Prediction`.
        asked: the image and what is known about it.
        classes: names of the model's classes.
        multilabel: whether an image has any number of classes.
    """
    seen: list[Prediction] = []
    ((result, hits),) = predict_inputs(
        model, [asked], tuple(classes), 1, lambda p, _: seen.append(p), multilabel=multilabel
    )
    if not seen or asked.image is None or result.error is not None:
        return Look(result, None, None)
    picture = explanation(
        asked.image,
        seen[0],
        classes=classes,
        multilabel=multilabel,
        truth=result.truth,
        boxes=asked.boxes,
        file=result.file,
    )
    return Look(result, picture, hits)
