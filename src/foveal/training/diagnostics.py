"""Watching for runs that fail silently: what is wrong, said once, in plain words, with what to try.

A model that chooses its own evidence can fail in ways that a falling loss does not show: it fixes
on one class, one place or the border, or its scorer stops learning. A watcher is fed with what the
model does; at the end of a round (one validation) it says what it noticed.
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

_FEWEST = 16  # images below which a coincidence is likely
_SAME = 0.95  # share of the images from which on "always" is said
_OVERLAP = 0.5  # mean intersection over union of the chosen windows of an image

_WORDS = {
    "class": "the model gives nearly all images the same class ({share:.0%} of {n}), so it has "
    "learned nothing from them yet. If it stays so: a lower learning rate, class weights, a "
    "pretrained encoder, or a higher --entropy.",
    "set": "the model gives nearly all images the same set of classes ({share:.0%} of {n}), so it "
    "has learned nothing from them yet. If it stays so: a lower learning rate, a pretrained "
    "encoder, or a higher --entropy.",
    "loss": "the loss or its gradient is not a finite number; such steps are skipped. Try a lower "
    "learning rate, a longer warm-up, clipping, or precision 32-true.",
    "gradient": "no gradient has reached the scorer since the last validation, so where the model "
    "looks cannot improve. Is sigma 0, or the scorer frozen?",
    "constant": "the scorer gives all windows of an image the same score, so where the model looks "
    "is arbitrary. Try a lower learning rate, or another seed.",
    "entropy": "the scorer sees only {effective:.1f} windows an image (the exponential of the "
    "scores' entropy) where {k} are looked at: the others hardly compete any more. Try a higher "
    "--entropy or a lower learning rate of the scorer.",
    "place": "the model looks at the same windows in {share:.0%} of {n} images, whatever they "
    "show. Try a higher --entropy, random shifts of the training images, or a larger sigma.",
    "border": "{share:.0%} of the chosen windows hang over the border of the image, where only "
    "{usual:.0%} of all windows do: the scorer may have learned the edge instead of the content. "
    "Try random shifts, or a higher --entropy.",
    "overlap": "the chosen windows of an image mostly show the same thing (mean overlap "
    "{share:.0%}), so most looks are wasted. Try a smaller k, larger patches on a coarser grid, or "
    "a higher --entropy.",
}


class Diagnostics:
    """Remembers what a model did since the last warnings. It only looks, and changes nothing.

    What may be no more than a slow start is said when it was so in two rounds one after the other.

    Args:
        multilabel: whether images bear sets of classes.
    """

    def __init__(self, *, multilabel: bool = False) -> None:
        """Begin with nothing seen."""
        self._multilabel = multilabel
        self._said: set[str] = set()
        self._suspected: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._bad_losses = 0
        self._scorer_gradients: list[float] = []
        self._answers: Counter[str] = Counter()
        self._places: Counter[tuple[int, ...]] = Counter()
        self._entropies: list[float] = []
        self._spreads: list[float] = []
        self._overlaps: list[float] = []
        self._border: list[float] = []
        self._usual_border: list[float] = []
        self._k = self._n = 0

    def step(self, *, finite: bool, scorer_gradient: float | None) -> None:
        """Take note of a training step.

        Args:
            finite: whether loss and gradient were finite numbers.
            scorer_gradient: norm of the gradient of the scorer's weights, None without a scorer.
        """
        self._bad_losses += not finite
        if finite and scorer_gradient is not None:
            self._scorer_gradients.append(scorer_gradient)

    def see(self, prediction: Prediction, sizes: list[tuple[int, int]]) -> None:
        """Take note of a prediction.

        Args:
            prediction: of images the model does not learn from.
            sizes: (height, width) of each of its images, in pixels.
        """
        looks = chosen_windows(prediction).cpu()
        self._n, self._k = prediction.scores.shape[1], looks.shape[1]
        answers = predicted(prediction.logits, multilabel=self._multilabel)
        self._answers.update(map(str, answers.tolist()))
        self._places.update(tuple(sorted(row)) for row in _numbers(prediction).tolist())
        self._entropies += entropy(prediction.scores.float()).tolist()
        self._spreads += _spread(prediction.scores.float()).tolist()
        self._overlaps += [_mean_overlap(windows) for windows in looks]
        everything = prediction.windows.cpu()
        for b, size in enumerate(sizes):
            all_windows = everything if everything.ndim == 2 else everything[b]
            self._border.append(border_share(looks[b], size))
            self._usual_border.append(border_share(all_windows, size))

    @property
    def entropy_share(self) -> float | None:
        """Mean entropy of the scores in [0, 1]: 1 if all windows score alike; None if none seen."""
        return _mean(self._entropies) / math.log(self._n) if self._n > 1 else None

    def warnings(self, *, majority: float = 0.0) -> list[str]:
        """What was noticed in this round and never said before; begins a new round.

        Args:
            majority: share of the most frequent class, or set of them, among the images that were
                seen.
        """
        noticed = self._noticed(majority)
        certain = {name for name in noticed if name == "loss" or name in self._suspected}
        new = [words for name, words in noticed.items() if name in certain - self._said]
        self._said |= certain
        self._suspected = set(noticed)
        self._begin()
        return new

    def _noticed(self, majority: float) -> dict[str, str]:
        noticed: dict[str, dict[str, float]] = {}
        if self._bad_losses:
            noticed["loss"] = {}
        if self._scorer_gradients and not any(self._scorer_gradients):
            noticed["gradient"] = {}
        if self._answers.total() >= _FEWEST:
            noticed |= self._noticed_in_predictions(majority)
        return {name: _WORDS[name].format(**values) for name, values in noticed.items()}

    def _noticed_in_predictions(self, majority: float) -> dict[str, dict[str, float]]:
        noticed: dict[str, dict[str, float]] = {}
        n = self._answers.total()
        if majority < _SAME <= (share := _most_common_share(self._answers)):
            noticed["set" if self._multilabel else "class"] = {"share": share, "n": n}
        if self._n <= self._k:  # there is nothing to choose from
            return noticed
        if max(self._spreads) < 1e-6:
            noticed["constant"] = {}
        elif (effective := math.exp(_mean(self._entropies))) < self._k / 2:
            noticed["entropy"] = {"effective": effective, "k": self._k}
        if (share := _most_common_share(self._places)) >= _SAME:
            noticed["place"] = {"share": share, "n": n}
        border, usual = _mean(self._border), _mean(self._usual_border)
        if border > 0.5 and border > 2 * usual:
            noticed["border"] = {"share": border, "usual": usual}
        if (share := _mean(self._overlaps)) > _OVERLAP:
            noticed["overlap"] = {"share": share}
        return noticed


def border_share(windows: Int[Tensor, "N 4"], size: tuple[int, int]) -> float:
    """The share of the windows that hang over the border of an image of a size (height, width)."""
    top, left, bottom, right = windows.unbind(dim=1)
    over = (top < 0) | (left < 0) | (bottom > size[0]) | (right > size[1])
    return float(over.float().mean())


def _mean_overlap(windows: Int[Tensor, "K 4"]) -> float:
    """Mean intersection over union of all pairs of windows, 0 if there is but one."""
    k = len(windows)
    return float(iou(windows, windows).triu(1).sum()) / max(k * (k - 1) / 2, 1)


def _numbers(prediction: Prediction) -> Int[Tensor, "B K"]:
    selection = prediction.selection
    return selection.candidates.gather(1, selection.weights.argmax(dim=-1))


def _spread(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """Range of the scores of each image, in units of their size."""
    return (scores.amax(dim=1) - scores.amin(dim=1)) / scores.abs().amax(dim=1).clamp(min=1)


def _most_common_share(counts: Counter[Any]) -> float:
    return counts.most_common(1)[0][1] / counts.total()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
