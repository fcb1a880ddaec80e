"""What a model says of one image, and how well it does on many of them."""

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch

import foveal._torchvision  # noqa: F401  # before torchmetrics
from foveal.data.labels import LabelName
from foveal.errors import UserError

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """What a model says of one image.

    Attributes:
        file: the name people know the image by.
        label: the most probable class, or the tuple of the classes more probable than not where
            images bear sets of them; "" where there is an error.
        probability: of the label, in [0, 1]; that of a set is of exactly this set.
        probabilities: of every class; they sum to one, unless images bear sets.
        windows: the K close looks, top left bottom right in pixels of the image, end excluded.
        truth: the true class, or the tuple of them in the model's order, where it is known.
        error: why the image could not be judged, in one line, or None.
    """

    file: str
    label: LabelName
    probability: float
    probabilities: dict[str, float]
    windows: list[Window]
    truth: LabelName | None = None
    error: str | None = None


@dataclass(frozen=True)
class Report:
    """What a model says of a data set.

    Where images bear sets of classes, only the exact set is right, and recall is the share of the
    images with a class in which it is said.

    Attributes:
        accuracy: share of the images whose label is right.
        balanced_accuracy: mean of the recalls of all classes that occur. With sets: mean of recall
            and specificity, the share of the images without a class in which it is not said, over
            the classes that have both; 1/2 for who always says the same. Where there is no such
            class, mean over all classes of the one they have.
        per_class: class -> recall, of the classes that occur.
        majority: share of the most frequent class, or set: the accuracy of who always says the
            same.
        n: number of images judged.
        hit_rate: share of the images with boxes in which some chosen window covers at least half of
            some box; None without boxes.
        hit_all_rate: share of those in which every box is covered so by some window.
        confusion: rows are true classes, columns are labels, in the order of `classes`; empty with
            sets, which are not taken for one another.
        results: every image, those with errors included, in the order of the data set.
        classes: the names of the rows and columns.
        loss: mean cross-entropy; with sets, mean binary cross-entropy over images and classes.
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


def report(
    judged: list[tuple[Result, Hits | None]], classes: tuple[str, ...], *, multilabel: bool = False
) -> Report:
    """Sum up the results; those with boxes come with whether they were hit.

    Raises:
        UserError: every result is an error.
    """
    results = [result for result, _ in judged]
    good = [result for result in results if result.error is None]
    if not good:
        raise UserError(f"none of the {len(results)} images could be judged: {results[0].error}")
    hit = [h for _, h in judged if h is not None]
    return Report(
        **(_of_sets if multilabel else _of_classes)(good, classes),
        majority=max(Counter(r.truth for r in good).values()) / len(good),
        n=len(good),
        hit_rate=sum(h.some for h in hit) / len(hit) if hit else None,
        hit_all_rate=sum(h.every for h in hit) / len(hit) if hit else None,
        results=results,
        classes=classes,
        failed=len(results) - len(good),
    )


def _of_classes(good: list[Result], classes: tuple[str, ...]) -> dict[str, Any]:
    """What a report says of labels that are one class each."""
    # 4 seconds, and of no use to who predicts
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    number = {name: i for i, name in enumerate(classes)}
    truth = torch.tensor([number[str(r.truth)] for r in good])
    label = torch.tensor([number[str(r.label)] for r in good])
    confusion = multiclass_confusion_matrix(label, truth, num_classes=len(classes))
    recalls = (confusion.diag().double() / confusion.sum(dim=1)).tolist()
    occurring = {r.truth for r in good}
    per_class = {c: r for c, r in zip(classes, recalls, strict=True) if c in occurring}
    known = torch.tensor([r.probabilities[str(r.truth)] for r in good], dtype=torch.float64)
    return {
        "accuracy": int(confusion.diag().sum()) / len(good),
        "balanced_accuracy": sum(per_class.values()) / len(per_class),
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "loss": float(-known.clamp(min=1e-300).log().mean()),
    }


def _of_sets(good: list[Result], classes: tuple[str, ...]) -> dict[str, Any]:
    """What a report says of labels that are sets of classes."""
    truth = torch.tensor([[c in (r.truth or ()) for c in classes] for r in good])  # (n, classes)
    label = torch.tensor([[c in r.label for c in classes] for r in good])
    shares = torch.tensor(
        [[r.probabilities[c] for c in classes] for r in good], dtype=torch.float64
    )
    same = label == truth
    recalls, specificities = (
        (same & of).sum(dim=0) / of.sum(dim=0).double() for of in (truth, ~truth)
    )
    both = torch.stack((recalls, specificities))  # (2, classes), NaN where there are no images
    balanced = both.mean(dim=0).nanmean()
    known = torch.where(truth, shares, 1 - shares)
    return {
        "accuracy": int(same.all(dim=1).sum()) / len(good),
        "balanced_accuracy": float(both.nanmean() if balanced.isnan() else balanced),
        "per_class": {
            c: r for c, r in zip(classes, recalls.tolist(), strict=True) if not math.isnan(r)
        },
        "confusion": [],
        # what a probability lacks of 1 is known no more exactly than this
        "loss": float(-known.clamp(min=torch.finfo(known.dtype).eps).log().mean()),
    }
