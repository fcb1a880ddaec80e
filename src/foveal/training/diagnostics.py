"""Diagnostics: detect runs that fail silently, and warn once, in words that say what to try.

A model that selects its own evidence can fail in ways that a falling loss does not show: it
collapses to one class, one place or the border, or its scorer stops learning. `Diagnostics` sees
the steps and the validation predictions; after each validation it reports what it noticed.
"""

import math
from collections import Counter
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from foveal.data.labels import predicted
from foveal.evaluation import chosen_windows
from foveal.nn.scorers import entropy
from foveal.prediction import Prediction
from foveal.windows import iou

_MIN_IMAGES = 16  # with fewer, a coincidence is likely
_NEARLY_ALL = 0.95  # fraction of the images
_OVERLAP = 0.5  # mean intersection over union of the selected windows of an image
_CONSTANT = 1e-6  # range of the scores of an image, relative to their size

_MESSAGES = {
    "class": "the model predicts the same class for {share:.0%} of {n} validation images. If this "
    "persists, try a lower learning rate, class weights, a pretrained encoder, or a higher "
    "--entropy.",
    "set": "the model predicts the same set of classes for {share:.0%} of {n} validation images. "
    "If this persists, try a lower learning rate, a pretrained encoder, or a higher --entropy.",
    "loss": "the loss or its gradient is not finite; such steps are skipped. Try a lower learning "
    "rate, a longer warm-up, clipping, or precision 32-true.",
    "gradient": "the scorer has received no gradient since the last validation, so the selection "
    "of patches cannot improve. Is sigma 0, or the scorer frozen?",
    "constant": "the scorer gives all windows of an image the same score, so the selection of "
    "patches is arbitrary. Try a lower learning rate, or another seed.",
    "entropy": "score entropy is low: effectively {effective:.1f} windows per image compete for "
    "k={k} slots. Try a higher --entropy, or a lower learning rate of the scorer.",
    "place": "the model selects the same windows in {share:.0%} of {n} validation images, whatever "
    "they show. Try a higher --entropy, random shifts of the training images, or a larger sigma.",
    "border": "{share:.0%} of the selected windows extend beyond the border of the image, but only "
    "{usual:.0%} of all windows do: the scorer may have learned the edge instead of the content. "
    "Try random shifts, or a higher --entropy.",
    "overlap": "the selected windows of an image mostly show the same place (mean overlap "
    "{share:.0%}), so most patches are wasted. Try a smaller k, larger patches on a coarser grid, "
    "or a higher --entropy.",
}


class Diagnostics:
    """Collects what a model does until `warnings` is called. It changes nothing.

    A finding that may be no more than a slow start is reported after two validations in a row.

    Args:
        multilabel: whether images have sets of classes.
    """

    def __init__(self, *, multilabel: bool = False) -> None:
        self._multilabel = multilabel
        self._reported: set[str] = set()
        self._suspected: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self._skipped = 0
        self._scorer_gradients: list[float] = []
        self._labels: Counter[str] = Counter()
        self._selections: Counter[tuple[int, ...]] = Counter()
        self._entropies: list[float] = []
        self._ranges: list[float] = []
        self._overlaps: list[float] = []
        self._border: list[float] = []
        self._usual_border: list[float] = []
        self._k = self._n = 0

    def add_step(self, *, finite: bool, scorer_gradient: float | None) -> None:
        """Take note of a training step.

        Args:
            finite: whether loss and gradient were finite.
            scorer_gradient: norm of the gradient of the scorer, None without a scorer.
        """
        self._skipped += not finite
        if finite and scorer_gradient is not None:
            self._scorer_gradients.append(scorer_gradient)

    def add_prediction(self, prediction: Prediction, sizes: list[tuple[int, int]]) -> None:
        """Take note of a prediction.

        Args:
            prediction: prediction for a batch of validation images.
            sizes: (height, width) of each of the images, in pixels.
        """
        selected = chosen_windows(prediction).cpu()  # (B, K, 4)
        self._n, self._k = prediction.scores.shape[1], selected.shape[1]
        labels = predicted(prediction.logits, multilabel=self._multilabel)
        self._labels.update(map(str, labels.tolist()))
        self._selections.update(tuple(sorted(row)) for row in _candidates(prediction).tolist())
        self._entropies += entropy(prediction.scores.float()).tolist()
        self._ranges += _relative_range(prediction.scores.float()).tolist()
        self._overlaps += [_mean_overlap(windows) for windows in selected]
        windows = prediction.windows.cpu()
        for b, size in enumerate(sizes):
            candidates = windows if windows.ndim == 2 else windows[b]
            self._border.append(border_fraction(selected[b], size))
            self._usual_border.append(border_fraction(candidates, size))

    @property
    def relative_entropy(self) -> float | None:
        """Mean entropy of the scores in [0, 1], 1 if all are equal; None without predictions."""
        return _mean(self._entropies) / math.log(self._n) if self._n > 1 else None

    def warnings(self, *, majority: float = 0.0) -> list[str]:
        """Return what was noticed since the last call and never reported before.

        Args:
            majority: fraction of the most frequent class, or set of classes, in the validation
                images.
        """
        noticed = self._noticed(majority)
        certain = {name for name in noticed if name == "loss" or name in self._suspected}
        new = [message for name, message in noticed.items() if name in certain - self._reported]
        self._reported |= certain
        self._suspected = set(noticed)
        self._reset()
        return new

    def _noticed(self, majority: float) -> dict[str, str]:
        noticed: dict[str, dict[str, float]] = {}
        if self._skipped:
            noticed["loss"] = {}
        if self._scorer_gradients and not any(self._scorer_gradients):
            noticed["gradient"] = {}
        if self._labels.total() >= _MIN_IMAGES:
            noticed |= self._noticed_in_predictions(majority)
        return {name: _MESSAGES[name].format(**values) for name, values in noticed.items()}

    def _noticed_in_predictions(self, majority: float) -> dict[str, dict[str, float]]:
        noticed: dict[str, dict[str, float]] = {}
        n = self._labels.total()
        if majority < _NEARLY_ALL <= (share := _most_common_share(self._labels)):
            noticed["set" if self._multilabel else "class"] = {"share": share, "n": n}
        if self._n <= self._k:  # all windows are selected
            return noticed
        if max(self._ranges) < _CONSTANT:
            noticed["constant"] = {}
        elif (effective := math.exp(_mean(self._entropies))) < self._k / 2:
            noticed["entropy"] = {"effective": effective, "k": self._k}
        if (share := _most_common_share(self._selections)) >= _NEARLY_ALL:
            noticed["place"] = {"share": share, "n": n}
        border, usual = _mean(self._border), _mean(self._usual_border)
        if border > 0.5 and border > 2 * usual:
            noticed["border"] = {"share": border, "usual": usual}
        if (share := _mean(self._overlaps)) > _OVERLAP:
            noticed["overlap"] = {"share": share}
        return noticed


def border_fraction(windows: Int[Tensor, "N 4"], size: tuple[int, int]) -> float:
    """Fraction of the windows that extend beyond the border of an image of (height, width)."""
    top, left, bottom, right = windows.unbind(dim=1)
    beyond = (top < 0) | (left < 0) | (bottom > size[0]) | (right > size[1])
    return float(beyond.float().mean())


def _mean_overlap(windows: Int[Tensor, "K 4"]) -> float:
    """Mean intersection over union of all pairs of windows, 0 for a single window."""
    k = len(windows)
    return float(iou(windows, windows).triu(1).sum()) / max(k * (k - 1) / 2, 1)


def _candidates(prediction: Prediction) -> Int[Tensor, "B K"]:
    """The candidate of the greatest weight in each slot."""
    selection = prediction.selection
    return selection.candidates.gather(1, selection.weights.argmax(dim=-1))


def _relative_range(scores: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Range of the scores of each image, relative to their size."""
    return (scores.amax(dim=1) - scores.amin(dim=1)) / scores.abs().amax(dim=1).clamp(min=1)


def _most_common_share(counts: Counter[Any]) -> float:
    return counts.most_common(1)[0][1] / counts.total()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
