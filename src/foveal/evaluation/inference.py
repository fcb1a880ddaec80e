"""One image after the other before the model: read, judged, and never in each other's way."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from foveal.data import Dataset, Example
from foveal.data.labels import (
    LabelName,
    decode,
    in_order,
    joint_probability,
    label_name,
    probabilities,
)
from foveal.data.loader import Pixels, pixels, stack
from foveal.errors import UserError
from foveal.evaluation.metrics import Result, Window
from foveal.images import FileImage, Image
from foveal.prediction import Prediction

Size = tuple[int, int]
Watch = Callable[[Prediction, list[Size]], None]

_TOGETHER = 2**27  # pixels of the images that are in memory at once, unless one alone has more


class Task(NamedTuple):
    """An image to judge, and what is known of it."""

    file: str
    image: Image | None
    truth: LabelName | None
    boxes: Int[Tensor, "n 4"] | None
    error: str | None


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every part's own mode is restored afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes:
            part.training = training


def chosen_windows(prediction: Prediction) -> Int[Tensor, "B K 4"]:
    """Where each slot looks; the candidate of the greatest weight where a selection is soft."""
    selection = prediction.selection
    numbers = selection.candidates.gather(1, selection.weights.argmax(dim=-1))  # (B, K)
    if prediction.windows.ndim == 2:
        return prediction.windows[numbers]
    return prediction.windows.gather(1, numbers[..., None].expand(-1, -1, 4))


def task(images: Sequence[Image] | Dataset, index: int) -> Task:
    """The image of a number, and what is known of it."""
    try:
        item = images[index]
    except UserError as error:
        return Task(f"image {index}", None, None, None, str(error))
    if isinstance(item, Example):
        truth = label_name(item.label, images.classes)  # type: ignore[union-attr]
        return Task(item.file, item.image, truth, item.boxes, None)
    file = str(item.path) if isinstance(item, FileImage) else f"image {index}"
    return Task(file, item, None, None, None)


def judge(
    model: nn.Module,
    tasks: Iterable[Task],
    classes: tuple[str, ...],
    batch: int,
    watch: Watch | None = None,
    *,
    multilabel: bool = False,
) -> Iterator[tuple[Result, Int[Tensor, "n 4"] | None]]:
    """A result for every task, in their order."""
    with ThreadPoolExecutor(4, "decode") as pool:
        for group in _groups(tasks, batch):
            loaded = list(pool.map(_load, group))
            good = [image for image in loaded if not isinstance(image, str)]
            answers = iter(_say(model, good, classes, watch, multilabel))
            for task, image in zip(group, loaded, strict=True):
                answer = image if isinstance(image, str) else next(answers)
                yield _result(task, classes, answer, multilabel), task.boxes


def _groups(tasks: Iterable[Task], batch: int) -> Iterator[list[Task]]:
    """Up to `batch` tasks at once, fewer where images are large."""
    group, together = list[Task](), 0
    for task in tasks:
        try:
            area = task.image.size[0] * task.image.size[1] if task.image is not None else 0
        except (UserError, OSError):  # said again when it is decoded
            area = 0
        if group and (len(group) == batch or together + area > _TOGETHER):
            yield group
            group, together = [], 0
        group.append(task)
        together += area
    if group:
        yield group


def _load(task: Task) -> Pixels | Image | str:
    """The pixels, or why there are none."""
    if task.image is None:
        return task.error or "there is no image"
    try:
        return pixels(task.image)
    except (UserError, OSError) as error:
        return str(error)


class _Answer(NamedTuple):
    probabilities: list[float]
    windows: list[Window]


def _say(
    model: nn.Module,
    images: list[Pixels | Image],
    classes: tuple[str, ...],
    watch: Watch | None,
    multilabel: bool,
) -> list[_Answer | str]:
    """The model's answer to each image, or why it has none."""
    if not images:
        return []
    parameter = next(model.parameters(), torch.empty(0))
    moved = [i.to(parameter.device) if isinstance(i, Tensor) else i for i in images]
    try:
        with judging(model):
            prediction: Prediction = model(stack(moved))
    except ValueError as error:
        if len(images) == 1:
            return [" ".join(str(error).split())]
        # One image that the model refuses must not take the others with it.
        return [a for image in images for a in _say(model, [image], classes, watch, multilabel)]
    if prediction.logits.shape[1] != len(classes):
        raise ValueError(
            f"there must be a name for each of the model's {prediction.logits.shape[1]} classes: "
            f"got {len(classes)}"
        )
    if watch is not None:
        watch(prediction, [_size(i) for i in images])
    shares = probabilities(prediction.logits.double(), multilabel=multilabel).tolist()
    windows = [[tuple(w) for w in ws] for ws in chosen_windows(prediction).tolist()]
    return [_Answer(p, w) for p, w in zip(shares, windows, strict=True)]


def _size(image: Pixels | Image) -> Size:
    return (image.shape[1], image.shape[2]) if isinstance(image, Tensor) else image.size


def _result(
    task: Task, classes: tuple[str, ...], answer: _Answer | str, multilabel: bool
) -> Result:
    truth = None if task.truth is None else in_order(task.truth, classes)
    if isinstance(answer, str):
        return Result(task.file, "", 0.0, {}, [], truth, answer)
    shares = dict(zip(classes, answer.probabilities, strict=True))
    label = decode(shares, multilabel=multilabel)
    return Result(task.file, label, joint_probability(label, shares), shares, answer.windows, truth)
