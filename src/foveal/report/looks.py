"""What a model says of one image, together with the picture that shows where it looked."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as Pillow
from torch import nn

from foveal.evaluation.inference import Task, box_hits, judge
from foveal.evaluation.metrics import Hits, Result
from foveal.prediction import Prediction
from foveal.report.look_figure import explanation


class Look(NamedTuple):
    """One image, explained.

    Attributes:
        result: the prediction in plain values.
        picture: score map, windows and patches; None if the image could not be read.
        hits: whether the windows cover the boxes; None without boxes.
    """

    result: Result
    picture: Pillow.Image | None
    hits: Hits | None


def explain(
    model: nn.Module, task: Task, classes: Sequence[str], *, multilabel: bool = False
) -> Look:
    """Predict one image and draw where the model looked.

    Args:
        model: from images to a `Prediction`.
        task: the image and what is known of it.
        classes: names of the model's classes.
        multilabel: whether an image has any number of classes.
    """
    seen: list[Prediction] = []
    ((result, boxes),) = judge(
        model, [task], tuple(classes), 1, lambda p, _: seen.append(p), multilabel=multilabel
    )
    if not seen or task.image is None:
        return Look(result, None, None)
    picture = explanation(
        task.image,
        seen[0],
        classes=classes,
        multilabel=multilabel,
        truth=result.truth,
        boxes=boxes,
        file=result.file,
    )
    return Look(result, picture, box_hits(result, boxes))
