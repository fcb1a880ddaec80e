"""What a model says of one image, and how well it does on many of them."""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch

import foveal.torchvision_compat  # noqa: F401  # before torchmetrics
from foveal.errors import UserError

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """What a model says of one image.

    Attributes:
        file: the name people know the image by.
        label: the most probable class, "" where there is an error.
        probability: of the label, in [0, 1].
        probabilities: of every class; they sum to one.
        windows: the K close looks, top left bottom right in pixels of the image, end excluded.
        truth: the true class, where it is known.
        error: why the image could not be judged, in one line, or None.
    """

    file: str
    label: str
    probability: float
    probabilities: dict[str, float]
    windows: list[Window]
    truth: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Report:
    """What a model says of a data set.

    Attributes:
        accuracy: share of the images whose label is right.
        balanced_accuracy: mean of the recalls of all classes that occur.
        per_class: class -> recall, of the classes that occur.
        majority: share of the most frequent class: the accuracy of who always says the same.
        n: number of images judged.
        hit_rate: share of the images with boxes in which some chosen window covers at least half of
            some box; None without boxes.
        hit_all_rate: share of those in which every box is covered so by some window.
        confusion: rows are true classes, columns are labels, in the order of `classes`.
        results: every image, those with errors included, in the order of the data set.
        classes: the names of the rows and columns.
        loss: mean cross-entropy.
        failed: number of images with errors; they count in nothing else.
    """

    accuracy: float
    balanced_accuracy: float
    per_class: dict[str, float]
    majority: float
    n: int
    hit_rate: float | None
    hit_all_rate: float | None
    confusion: list[list[int]]
    results: list[Result]
    classes: tuple[str, ...] = ()
    loss: float = 0.0
    failed: int = 0

    def summary(self) -> dict[str, Any]:
        """All but the results of single images, ready for JSON."""
        names = (field.name for field in fields(self) if field.name != "results")
        return {name: getattr(self, name) for name in names}


class Hits(NamedTuple):
    """Whether the windows cover some, and every one, of the boxes."""

    some: bool
    every: bool


def report(judged: list[tuple[Result, Hits | None]], classes: tuple[str, ...]) -> Report:
    """Sum up the results; those with boxes come with whether they were hit.

    Raises:
        UserError: every result is an error.
    """
    # 4 seconds, and of no use to who predicts
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    results = [result for result, _ in judged]
    good = [result for result in results if result.error is None]
    if not good:
        raise UserError(f"none of the {len(results)} images could be judged: {results[0].error}")
    number = {name: i for i, name in enumerate(classes)}
    truth = torch.tensor([number[str(r.truth)] for r in good])
    label = torch.tensor([number[r.label] for r in good])
    confusion = multiclass_confusion_matrix(label, truth, num_classes=len(classes))
    recalls = (confusion.diag().double() / confusion.sum(dim=1)).tolist()
    occurring = Counter(str(r.truth) for r in good)
    per_class = {c: r for c, r in zip(classes, recalls, strict=True) if c in occurring}
    known = torch.tensor([r.probabilities[str(r.truth)] for r in good], dtype=torch.float64)
    hit = [h for _, h in judged if h is not None]
    return Report(
        accuracy=int(confusion.diag().sum()) / len(good),
        balanced_accuracy=sum(per_class.values()) / len(per_class),
        per_class=per_class,
        majority=max(occurring.values()) / len(good),
        n=len(good),
        hit_rate=sum(h.some for h in hit) / len(hit) if hit else None,
        hit_all_rate=sum(h.every for h in hit) / len(hit) if hit else None,
        confusion=confusion.tolist(),
        results=results,
        classes=classes,
        loss=float(-known.clamp(min=1e-300).log().mean()),
        failed=len(results) - len(good),
    )
