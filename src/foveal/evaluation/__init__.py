"""Predictions for images, and how good they are on a labelled data set.

Every image counts once, and its result does not depend on the other images of its batch. The model
runs in evaluation mode, with a hard selection unless it was built otherwise.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from foveal.data import Dataset
from foveal.data.labels import is_multilabel
from foveal.errors import UserError
from foveal.evaluation.inference import (
    Input,
    OnPrediction,
    chosen_windows,
    evaluation_mode,
    predict_inputs,
    read_input,
)
from foveal.evaluation.metrics import Hits, Report, box_hits, summarise
from foveal.evaluation.results import Looks, Result
from foveal.evaluation.thresholds import Thresholds, choose_thresholds, have_thresholds
from foveal.images import Image

__all__ = [
    "Hits",
    "Input",
    "Looks",
    "Report",
    "Result",
    "Thresholds",
    "box_hits",
    "choose_thresholds",
    "chosen_windows",
    "evaluate",
    "evaluation_mode",
    "have_thresholds",
    "predict",
    "predict_inputs",
    "read_input",
    "summarise",
]


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    batch_size: int = 32,
    *,
    classes: Sequence[str] | None = None,
    on_prediction: OnPrediction | None = None,
    rank: int = 0,
    world_size: int = 1,
    raise_not_finite: bool = False,
) -> Report:
    """Evaluate a model on a labelled data set. The model's mode is restored afterwards.

    Whether the labels are single classes or sets of classes follows from their type; see
    `foveal.data.labels`.

    Args:
        model: from images to a `Prediction`.
        dataset: labelled images, at least one of them readable.
        batch_size: images per forward pass; the report does not depend on it.
        classes: the names of the model's classes; None: those of the data set.
        on_prediction: called with the prediction of every batch and the sizes of its images.
        rank: rank of this process in a distributed run; it predicts every `world_size`-th image.
        world_size: number of processes; every one returns the whole report.
        raise_not_finite: raise `NotFiniteError` where an output is NaN or infinite, instead of
            counting the image as failed.

    Raises:
        ValueError: the data set is empty.
        UserError: it has a class that the model does not know, or no image that can be predicted.
    """
    names = tuple(classes or dataset.classes)
    if unknown := sorted(set(dataset.classes) - set(names)):
        raise UserError(
            f"the data contain classes unknown to the model: {', '.join(unknown)}; it knows "
            f"{', '.join(names)}"
        )
    if len(dataset) == 0:
        raise ValueError("there is nothing to evaluate: the data set holds 0 images")
    inputs = (read_input(dataset, index) for index in range(rank, len(dataset), world_size))
    multilabel = is_multilabel(dataset.labels)
    mine = list(
        predict_inputs(
            model,
            inputs,
            names,
            batch_size,
            on_prediction,
            multilabel=multilabel,
            raise_not_finite=raise_not_finite,
        )
    )
    by_rank = _all_gather(mine, world_size)
    ordered = [by_rank[i % world_size][i // world_size] for i in range(len(dataset))]
    return summarise(ordered, names, multilabel=multilabel)


def predict(
    model: nn.Module,
    images: Sequence[Image] | Dataset,
    classes: Sequence[str],
    batch_size: int = 32,
    *,
    multilabel: bool = False,
) -> Iterator[Result]:
    """Predict images, one result after the other; a bad image gives a result with an error.

    Args:
        model: from images to a `Prediction`.
        images: images, or a data set, whose labels become the `truth` of the results.
        classes: the names of the model's classes.
        batch_size: images per forward pass; the results do not depend on it.
        multilabel: whether a label is a set of classes.
    """
    inputs = (read_input(images, index) for index in range(len(images)))
    results = predict_inputs(model, inputs, tuple(classes), batch_size, multilabel=multilabel)
    return (result for result, _ in results)


def _all_gather(mine: list[Any], world_size: int) -> list[list[Any]]:
    """The lists of all processes, in all of them."""
    by_rank: list[Any] = [mine]
    if world_size > 1:
        by_rank = [None] * world_size
        torch.distributed.all_gather_object(by_rank, mine)
    return by_rank
