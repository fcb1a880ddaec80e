"""The report that sums up the results of many images."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

import foveal._torchvision  # noqa: F401  # before torchmetrics
from foveal.errors import UserError
from foveal.evaluation.results import Looks, Result, Window
from foveal.evaluation.thresholds import Thresholds
from foveal.windows import can_cover, cover_chance, covers


@dataclass(frozen=True)
class Report:
    """The results of a data set, summed up.

    With multi-label data only the exact set of classes is correct, and the recall of a class is the
    share of its images in which it is predicted.

    Attributes:
        accuracy: share of the images whose label is correct.
        balanced_accuracy: mean recall over the classes that occur. Multi-label: mean over the
            classes of (recall + specificity) / 2, 1/2 for a constant predictor; a class of all
            images, or of none, is left out unless every class is like that.
        per_class: class -> recall, of the classes that occur.
        majority: accuracy of always predicting the most frequent class (or set).
        n: number of images predicted.
        hit_rate: share of the images with boxes in which some chosen window covers at least half of
            some box; None without boxes.
        hit_all_rate: share of the images with boxes in which every box is covered so.
        confusion: counts, rows are true classes and columns predicted ones, in the order of
            `classes`; empty with multi-label data.
        results: the result of every image, in the order of the data set, errors included.
        chance_hit_rate: expected hit rate of as many windows of the same sizes at random places
            inside the images.
        auroc: mean over the classes of the area under the ROC curve, each class against the rest:
            the probability that an image with the class gets a higher probability of it than one
            without. Classes of all images, or of none, are left out; None if all are.
        classes: names of the model's classes.
        loss: mean cross-entropy; multi-label: mean binary cross-entropy over images and classes.
        failed: number of images with errors; they count in nothing else.
        boxed: number of images with boxes, of which the hit rates are shares.
        thresholds: chosen on validation images; `summary` tells what the figures are at them.
        looks: whether the looks matter, if that was measured.
        possible_hit_rate: hit rate of windows of the same sizes at their best places: none covers
            half of a box that is much larger, or longer.
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
    chance_hit_rate: float | None = None
    auroc: float | None = None
    classes: tuple[str, ...] = ()
    loss: float = 0.0
    failed: int = 0
    boxed: int = 0
    thresholds: Thresholds | None = None
    looks: Looks | None = None
    possible_hit_rate: float | None = None

    def summary(self) -> dict[str, Any]:
        """Everything but the results of single images, with further figures; ready for JSON."""
        left_out = ("results", "thresholds", "looks")
        names = [field.name for field in fields(self) if field.name not in left_out]
        figures = {name: getattr(self, name) for name in names} | self.further()
        if self.thresholds is not None:
            figures["at_threshold"] = self._at_them()
        if self.looks is not None:
            figures["looks"] = self.looks.summary()
        return figures

    def at(self, thresholds: Thresholds) -> "Report":
        """The report of the same probabilities and windows, with labels predicted at thresholds."""
        multilabel = not self.confusion
        results = [thresholds.apply(each, multilabel=multilabel) for each in self.results]
        good = [result for result in results if result.error is None]
        figures = (_multilabel if multilabel else _single_label)(good, self.classes)
        return replace(self, results=results, thresholds=None, **figures)

    def _at_them(self) -> dict[str, Any]:
        assert self.thresholds is not None
        figures = self.at(self.thresholds).summary()
        names = ("accuracy", "balanced_accuracy", "precision", "f1", "per_class", "confusion")
        return {
            "thresholds": dict(self.thresholds.classes),
            "chosen_on": self.thresholds.images,
            **{name: figures[name] for name in names},
            "intervals": {
                name: ends for name, ends in figures["intervals"].items() if name in names
            },
        }

    def further(self) -> dict[str, Any]:
        """Precision, F1, calibration error and intervals; see `foveal.evaluation.figures`."""
        from foveal.evaluation.figures import further_figures, wilson

        classes = self.classes or tuple(self.per_class)
        figures = further_figures(self.results, classes, multilabel=not self.confusion)
        rates = {"hit_rate": self.hit_rate, "hit_all_rate": self.hit_all_rate}
        figures["intervals"] |= {
            name: wilson(rate, self.boxed) for name, rate in rates.items() if rate is not None
        }
        return figures


class Hits(NamedTuple):
    """What the windows of an image cover.

    Attributes:
        some: whether they cover at least one box.
        every: whether they cover every box.
        chance: probability that one of as many windows, of the same sizes at random places, covers
            a box.
        possible: whether a window of such a size covers a box anywhere.
    """

    some: bool
    every: bool
    chance: float
    possible: bool


def box_hits(
    windows: Sequence[Window] | Int[Tensor, "K 4"],
    boxes: Int[Tensor, "n 4"] | None,
    size: tuple[int, int],
) -> Hits | None:
    """Whether windows cover boxes, each at least by half; None without windows or boxes.

    Args:
        windows: the chosen windows.
        boxes: where the evidence is.
        size: height and width of the image.

    >>> box_hits([(0, 0, 4, 4)], torch.tensor([[0, 2, 4, 6], [8, 8, 9, 9]]), (4, 6))
    Hits(some=True, every=False, chance=1.0, possible=True)
    """
    if boxes is None or len(boxes) == 0 or len(windows) == 0:
        return None
    chosen, boxes = torch.as_tensor(windows).cpu(), boxes.cpu()
    covered = covers(chosen, boxes).any(dim=0)  # (n,)
    lengths = Counter((bottom - top, right - left) for top, left, bottom, right in chosen.tolist())
    missed = math.prod(
        (1 - cover_chance(window, boxes, size)) ** count for window, count in lengths.items()
    )
    possible = any(can_cover(window, boxes) for window in lengths)
    return Hits(bool(covered.any()), bool(covered.all()), 1 - missed, possible)


def summarise(
    results: Sequence[tuple[Result, Hits | None]],
    classes: tuple[str, ...],
    *,
    multilabel: bool = False,
) -> Report:
    """The report of labelled results, each with its hits where the image has boxes.

    Raises:
        UserError: every result is an error.
    """
    everything = [result for result, _ in results]
    good = [result for result in everything if result.error is None]
    if not good:
        first = everything[0].error
        raise UserError(f"none of the {len(everything)} images could be predicted: {first}")
    hits = [hit for _, hit in results if hit is not None]
    return Report(
        **(_multilabel if multilabel else _single_label)(good, classes),
        majority=max(Counter(r.truth for r in good).values()) / len(good),
        n=len(good),
        hit_rate=sum(h.some for h in hits) / len(hits) if hits else None,
        hit_all_rate=sum(h.every for h in hits) / len(hits) if hits else None,
        chance_hit_rate=sum(h.chance for h in hits) / len(hits) if hits else None,
        auroc=_auroc(good, classes),
        results=everything,
        classes=classes,
        failed=len(everything) - len(good),
        boxed=len(hits),
        possible_hit_rate=sum(h.possible for h in hits) / len(hits) if hits else None,
    )


def _auroc(good: list[Result], classes: tuple[str, ...]) -> float | None:
    """Mean area under the ROC curve over the classes that some images have and others do not."""
    from torchmetrics.functional.classification import binary_auroc

    areas = []
    for name in classes:
        truth = torch.tensor([name == r.truth or name in (r.truth or ()) for r in good])
        if 0 < truth.sum() < len(truth):
            shares = torch.tensor([r.probabilities[name] for r in good], dtype=torch.float64)
            areas.append(float(binary_auroc(shares, truth.long())))
    return sum(areas) / len(areas) if areas else None


def _single_label(good: list[Result], classes: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a report that depend on the kind of labels: one class per image."""
    # Takes 4 seconds to import, and predicting does not need it.
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


def _multilabel(good: list[Result], classes: tuple[str, ...]) -> dict[str, Any]:
    """The same fields for labels that are sets of classes."""
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
        # 1 - share is exact only down to this
        "loss": float(-known.clamp(min=torch.finfo(known.dtype).eps).log().mean()),
    }
