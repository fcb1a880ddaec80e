"""Figures that people ask for beside accuracies: precision, F1, calibration and intervals.

They follow from the results of the images, and are computed when a report is written, not at every
validation.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import foveal._torchvision  # noqa: F401  # before torchmetrics
from foveal.evaluation.results import Result

_RESAMPLES, _AT_ONCE = 1000, 50
_CONFIDENCE, _DEVIATIONS = 0.95, 1.959964  # on either side of a normal distribution
_BINS = 15


def further_figures(
    results: Sequence[Result], classes: tuple[str, ...], *, multilabel: bool
) -> dict[str, Any]:
    """Precision, F1, calibration error and intervals.

    Args:
        results: of the images; those with an error do not count.
        classes: names of the model's classes.
        multilabel: whether labels are sets of classes.

    Returns:
        precision, f1: means over the classes that occur or are predicted.
        calibration_error: expected calibration error (15 bins) of the probability of the label;
            multi-label: of the probabilities of all classes.
        intervals: accuracy and balanced accuracy, each as lower and upper end of a 95 % interval,
            as if the images were independent. Accuracy: see `wilson`. Balanced accuracy: from 1000
            bootstrap samples of the images; empty where all of these are the same.
    """
    from torchmetrics.functional.classification import (
        binary_calibration_error,
        binary_f1_score,
        binary_precision,
    )

    good = [result for result in results if result.error is None]
    if not good:
        return {"precision": None, "f1": None, "calibration_error": None, "intervals": {}}
    truth, label = (
        torch.tensor([[_has(each, name) for name in classes] for each in labels], dtype=torch.bool)
        for labels in ([r.truth for r in good], [r.label for r in good])
    )  # (n, classes)
    known = (truth | label).any(dim=0).nonzero()[:, 0].tolist()
    pairs = [(label[:, i].long(), truth[:, i].long()) for i in known]
    if multilabel:
        shares = [[r.probabilities[name] for name in classes] for r in good]
        right = truth
    else:
        shares, right = [[r.probability] for r in good], (truth & label).any(dim=1)[:, None]
    return {
        "precision": _mean([float(binary_precision(*pair)) for pair in pairs]),
        "f1": _mean([float(binary_f1_score(*pair)) for pair in pairs]),
        "calibration_error": float(
            binary_calibration_error(
                torch.tensor(shares).flatten(), right.flatten().long(), n_bins=_BINS
            )
        ),
        "intervals": _intervals(truth, label, multilabel=multilabel),
    }


def wilson(share: float, n: int) -> list[float]:
    """The 95 % interval of a share of n independent images, also where it is 0 or 1.

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        share: in [0, 1].
        n: number of images, 1 or more.

    Returns:
        Its lower and its upper end.

    References:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    >>> [round(end, 3) for end in wilson(1.0, 20)]
    [0.839, 1.0]
    """
    extra = _DEVIATIONS**2 / n
    middle = share + extra / 2
    half = _DEVIATIONS * math.sqrt(share * (1 - share) / n + extra / n / 4)
    low, high = (middle - half) / (1 + extra), (middle + half) / (1 + extra)
    return [max(0.0, min(low, share)), min(1.0, max(high, share))]  # whatever the rounding


def _has(label: Any, name: str) -> bool:
    return label == name or (isinstance(label, tuple) and name in label)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _intervals(
    truth: Bool[Tensor, "n classes"], label: Bool[Tensor, "n classes"], *, multilabel: bool
) -> dict[str, list[float]]:
    """Those of the figures; of balanced accuracy over samples drawn with replacement."""
    generator = torch.Generator().manual_seed(0)
    same, n = truth == label, len(truth)
    of = (truth, ~truth) if multilabel else (truth,)
    balanced = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = torch.randint(n, (_AT_ONCE, n), generator=generator)
        counts = torch.zeros(_AT_ONCE, n, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(counts))
        shares = [counts @ (same & each).double() / (counts @ each.double()) for each in of]
        balanced.append(torch.stack(shares).mean(dim=0).nanmean(dim=1))  # NaN: no images
    return {
        "accuracy": wilson(int(same.all(dim=1).sum()) / n, n),
        "balanced_accuracy": _ends(torch.cat(balanced)),
    }


def _ends(values: Float[Tensor, " samples"]) -> list[float]:
    known = values[values.isfinite()]
    if (known == known[:1]).all():  # none, or all the same: samples say nothing of what may differ
        return []
    outside = (1 - _CONFIDENCE) / 2
    return torch.quantile(known, torch.tensor((outside, 1 - outside)).double()).tolist()
