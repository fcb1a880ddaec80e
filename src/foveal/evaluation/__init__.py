"""How well a model does on a data set, image by image and in a few numbers.

Every image counts, none is dropped for the sake of even batches, and what is said of an image does
not depend on those beside it. The model looks as it would at work: evaluation mode, hard selection.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from foveal.data import Dataset
from foveal.data.labels import is_multilabel
from foveal.errors import UserError
from foveal.evaluation.inference import Watch, chosen_windows, judge, judging, task
from foveal.evaluation.metrics import Hits, Report, Result, report
from foveal.images import Image
from foveal.windows import covers

__all__ = ["Report", "Result", "chosen_windows", "evaluate", "judging", "predict"]


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    batch: int = 32,
    *,
    classes: Sequence[str] | None = None,
    watch: Watch | None = None,
    rank: int = 0,
    world: int = 1,
) -> Report:
    """Judge every image of a data set. The model's mode is restored afterwards.

    Where the images bear sets of classes, so do the answers; see `foveal.data.labels`.

    Args:
        model: from images to a `Prediction`.
        dataset: labelled images; at least one of them readable.
        batch: images at once; the report does not depend on it.
        classes: the names of the model's classes where they are not those of the data set.
        watch: called with every prediction and the sizes of its images.
        rank: the share of the images to judge here, of `world` processes; all get the whole report.
        world: number of processes of a distributed run.

    Raises:
        ValueError: the data set is empty.
        UserError: it has a class that the model does not know, or no image that can be judged.
    """
    names = tuple(classes or dataset.classes)
    if unknown := sorted(set(dataset.classes) - set(names)):
        raise UserError(
            f"the data have classes that the model does not know: {', '.join(unknown)}; it knows "
            f"{', '.join(names)}"
        )
    if len(dataset) == 0:
        raise ValueError("there is nothing to evaluate: the data set holds 0 images")
    mine = range(rank, len(dataset), world)
    tasks = (task(dataset, index) for index in mine)
    sets = is_multilabel(dataset.labels)
    answers = judge(model, tasks, names, batch, watch, multilabel=sets)
    judged = [(r, _hits(r, boxes)) for r, boxes in answers]
    everyone = _gathered(judged, world)
    ordered = [everyone[i % world][i // world] for i in range(len(dataset))]
    return report(ordered, names, multilabel=sets)


def predict(
    model: nn.Module,
    images: Sequence[Image] | Dataset,
    classes: Sequence[str],
    *,
    batch: int = 32,
    multilabel: bool = False,
) -> Iterator[Result]:
    """Judge images one after the other; a bad one gives a result with an error, the rest go on.

    Args:
        model: from images to a `Prediction`.
        images: images, or a data set, whose labels become the results' truth.
        classes: the names of the model's classes.
        batch: images at once; the results do not depend on it.
        multilabel: whether the answer is a set of classes.
    """
    tasks = (task(images, index) for index in range(len(images)))
    answers = judge(model, tasks, tuple(classes), batch, multilabel=multilabel)
    return (result for result, _ in answers)


def _hits(result: Result, boxes: Int[Tensor, "n 4"] | None) -> Hits | None:
    """None where there are no boxes to hit."""
    if boxes is None or len(boxes) == 0 or not result.windows:
        return None
    covered = covers(torch.tensor(result.windows), boxes.cpu()).any(dim=0)  # (n,)
    return Hits(bool(covered.any()), bool(covered.all()))


def _gathered(judged: list[Any], world: int) -> list[list[Any]]:
    """What each process judged, in all of them."""
    everyone: list[Any] = [judged]
    if world > 1:
        everyone = [None] * world
        torch.distributed.all_gather_object(everyone, judged)
    return everyone
