"""The prediction for one image, together with the picture that shows where the model looked."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as Pillow
from torch import nn

from foveal.data.labels import probabilities
from foveal.evaluation import Hits, Input, Result, evaluation_mode, predict_inputs
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import encode
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
        votes=_votes(model, seen[0], classes, multilabel=multilabel),
    )
    return Look(result, picture, hits)


def _votes(
    model: nn.Module, prediction: Prediction, classes: Sequence[str], *, multilabel: bool
) -> list[tuple[str, float]] | None:
    """The class that each patch votes for most, and its probability; None if they do not vote."""
    if not (isinstance(model, PatchClassifier) and isinstance(model.aggregate, Vote)):
        return None
    with evaluation_mode(model):
        votes = model.aggregate.votes(encode(model.encoder, prediction.patches))[0]
    best = probabilities(votes.cpu().double(), multilabel=multilabel).max(dim=1)
    return [
        (classes[number], share)
        for number, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
