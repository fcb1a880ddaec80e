"""Predictions for images, read in small groups; a bad image costs its own result alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from foveal._futures import cancel, result_of, submit
from foveal.data import Dataset, Example
from foveal.data.labels import (
    LabelName,
    decode,
    in_order,
    joint_probability,
    label_name,
    probabilities,
)
from foveal.data.loader import Pixels, pixels
from foveal.errors import NotFiniteError, UserError
from foveal.evaluation.metrics import Hits, box_hits
from foveal.evaluation.results import Result, Window
from foveal.images import FileImage, Image
from foveal.nn import modes
from foveal.prediction import Prediction

OnPrediction = Callable[[Prediction, list[tuple[int, int]]], None]
"""Called with the prediction of a batch and the (height, width) of its images."""

_NOT_FINITE = (
    "the model's output is NaN or infinite: its training diverged, or the weights it began with "
    "are damaged; train it again with a lower learning rate or with other weights"
)
_PIXELS_IN_MEMORY = 2**26  # of all images of a batch, unless a single image has more


class Input(NamedTuple):
    """An image to predict, and what is known about it; without an image, the error says why."""

    file: str
    image: Image | None
    truth: LabelName | None
    boxes: Int[Tensor, "n 4"] | None
    error: str | None


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of every submodule is restored afterwards."""
    with modes.evaluation_mode(model), torch.inference_mode():
        yield


def chosen_windows(prediction: Prediction) -> Int[Tensor, "B K 4"]:
    """The window of each slot; where the selection is soft, the one of the greatest weight."""
    selection = prediction.selection
    numbers = selection.candidates.gather(1, selection.weights.argmax(dim=-1))  # (B, K)
    if prediction.windows.ndim == 2:
        return prediction.windows[numbers]
    return prediction.windows.gather(1, numbers[..., None].expand(-1, -1, 4))


def read_input(images: Sequence[Image] | Dataset, index: int) -> Input:
    """One image of a sequence or a data set, with its label and boxes if it has any."""
    try:
        item = images[index]
    except UserError as error:
        return Input(f"image {index}", None, None, None, str(error))
    if isinstance(item, Example):
        truth = label_name(item.label, images.classes)  # type: ignore[union-attr]
        return Input(item.file, item.image, truth, item.boxes, None)
    file = str(item.path) if isinstance(item, FileImage) else f"image {index}"
    return Input(file, item, None, None, None)


def predict_inputs(
    model: nn.Module,
    inputs: Iterable[Input],
    classes: tuple[str, ...],
    batch_size: int,
    on_prediction: OnPrediction | None = None,
    *,
    multilabel: bool = False,
    raise_not_finite: bool = False,
) -> Iterator[tuple[Result, Hits | None]]:
    """A result for every input, in order, and whether its windows hit its boxes.

    An image that cannot be read, that the model refuses (`ImageRefused`), or whose scores or logits
    are not finite, gives a result with an error. Any other error is a fault of the model or of the
    program, and is raised.

    Args:
        model: from images to a `Prediction`.
        inputs: images, and what is known about them.
        classes: the names of the model's classes.
        batch_size: images per forward pass.
        on_prediction: called with the prediction of every batch and the sizes of its images.
        multilabel: whether a label is a set of classes.
        raise_not_finite: raise `NotFiniteError` instead of giving a result with an error.
    """
    with ThreadPoolExecutor(4, "decode") as pool:
        for batch, loaded in _loaded_ahead(_batches(inputs, batch_size), pool):
            good = [image for image in loaded if not isinstance(image, str)]
            outputs = iter(
                _predict_batch(model, good, classes, on_prediction, multilabel, raise_not_finite)
            )
            for item, image in zip(batch, loaded, strict=True):
                output = image if isinstance(image, str) else next(outputs)
                result = _result(item, classes, output, multilabel)
                if isinstance(image, str):
                    yield result, None
                else:
                    yield result, box_hits(result.windows, item.boxes, _size(image))


def _loaded_ahead(
    batches: Iterable[list[Input]], pool: ThreadPoolExecutor
) -> Iterator[tuple[list[Input], list[Pixels | Image | str]]]:
    """Batches and what `_load` makes of them; while one is predicted, the next is loaded."""
    waiting: tuple[list[Input], list[Future[Pixels | Image | str]]] | None = None
    try:
        for batch in itertools.chain(batches, (None,)):
            ready, waiting = waiting, None
            if batch is not None:
                waiting = batch, submit(pool, _load, batch)
            if ready is not None:
                yield ready[0], [result_of(each) for each in ready[1]]
    finally:
        if waiting is not None:
            cancel(waiting[1])


def _batches(inputs: Iterable[Input], batch_size: int) -> Iterator[list[Input]]:
    """Up to `batch_size` inputs, fewer where images are large."""
    batch, held = list[Input](), 0
    for item in inputs:
        area = _area_in_memory(item.image)
        if batch and (len(batch) == batch_size or held + area > _PIXELS_IN_MEMORY):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += area
    if batch:
        yield batch


def _area_in_memory(image: Image | None) -> int:
    """Pixels that are held at once; of a large file that is read in parts, those of its cache."""
    if image is None:
        return 0
    try:
        if isinstance(image, FileImage) and image.is_large and image.in_parts:
            return image.cache.limit // 3
        return image.size[0] * image.size[1]
    except (UserError, OSError):  # reported when the image is decoded
        return 0


def _load(item: Input) -> Pixels | Image | str:
    """The pixels, the image itself if it is a large file, or the reason why there is none."""
    if item.image is None:
        return item.error or "there is no image"
    try:
        # of a large file, the model reads what it looks at
        is_large = isinstance(item.image, FileImage) and item.image.is_large
        return item.image if is_large else pixels(item.image)
    except (UserError, OSError) as error:
        return str(error)


class _Output(NamedTuple):
    probabilities: list[float]
    windows: list[Window]
    size: tuple[int, int]


def _predict_batch(
    model: nn.Module,
    images: list[Pixels | Image],
    classes: tuple[str, ...],
    on_prediction: OnPrediction | None,
    multilabel: bool,
    raise_not_finite: bool,
) -> list[_Output | str]:
    """The model's output for each image, or the reason why there is none."""
    if not images:
        return []
    parameter = next(model.parameters(), torch.empty(0))
    moved = [i.to(parameter.device) if isinstance(i, Tensor) else i for i in images]
    try:
        with evaluation_mode(model):
            prediction: Prediction = model(moved)
    except (UserError, NotFiniteError) as error:
        if raise_not_finite and isinstance(error, NotFiniteError):
            raise
        if len(images) == 1:
            return [" ".join(str(error).split())]
        # The model names one image; predict each alone, so that the others get their results.
        single = ([image] for image in images)
        return [
            _predict_batch(model, image, classes, on_prediction, multilabel, raise_not_finite)[0]
            for image in single
        ]
    if prediction.logits.shape[1] != len(classes):
        raise ValueError(
            f"there must be a name for each of the model's {prediction.logits.shape[1]} classes: "
            f"got {len(classes)}"
        )
    sizes = [_size(image) for image in images]
    if on_prediction is not None:
        on_prediction(prediction, sizes)
    logits = prediction.logits.cpu().double()  # not every device has float64
    finite = logits.isfinite().all(dim=1).tolist()
    if raise_not_finite and not all(finite):
        raise NotFiniteError(_NOT_FINITE)
    shares = probabilities(logits, multilabel=multilabel).tolist()
    windows = [[tuple(w) for w in ws] for ws in chosen_windows(prediction).tolist()]
    return [
        _Output(p, w, size) if f else _NOT_FINITE
        for p, w, size, f in zip(shares, windows, sizes, finite, strict=True)
    ]


def _size(image: Pixels | Image) -> tuple[int, int]:
    return (image.shape[1], image.shape[2]) if isinstance(image, Tensor) else image.size


def _result(
    item: Input, classes: tuple[str, ...], output: _Output | str, multilabel: bool
) -> Result:
    truth = None if item.truth is None else in_order(item.truth, classes)
    if isinstance(output, str):
        error = output if item.file in output else f"{item.file}: {output}"
        return Result(item.file, "", 0.0, {}, [], truth, error)
    shares = dict(zip(classes, output.probabilities, strict=True))
    label = decode(shares, multilabel=multilabel)
    share = joint_probability(label, shares)
    return Result(item.file, label, share, shares, output.windows, truth, size=output.size)
