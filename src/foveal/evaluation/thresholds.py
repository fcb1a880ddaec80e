"""Thresholds on probabilities, chosen on images that a model was not trained on.

               predicted with thresholds t         as usual
two classes    the class with the larger p - t     t = 1/2; the thresholds sum to one
sets           every class with p > t              t = 1/2
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from foveal.data.folder.table import shorten
from foveal.data.labels import decode, joint_probability
from foveal.errors import UserError
from foveal.evaluation.results import Result


@dataclass(frozen=True)
class Thresholds:
    """The probability above which each class is predicted.

    Attributes:
        classes: class -> threshold in [0, 1].
        images: number of images that they were chosen on; 0: they were given.
    """

    classes: Mapping[str, float]
    images: int = 0

    def __str__(self) -> str:
        return shorten([f"{name} above {share:.4g}" for name, share in self.classes.items()])

    def apply(self, result: Result, *, multilabel: bool) -> Result:
        """The result with the label that is predicted at the thresholds."""
        if result.error is not None:
            return result
        label = decode(result.probabilities, multilabel=multilabel, thresholds=self.classes)
        share = joint_probability(label, result.probabilities)
        return replace(result, label=label, probability=share)


def have_thresholds(classes: Sequence[str], *, multilabel: bool) -> bool:
    """Whether thresholds have a meaning: among three classes or more they have none."""
    return multilabel or len(classes) == 2


def choose_thresholds(
    results: Sequence[Result], classes: Sequence[str], *, multilabel: bool
) -> Thresholds:
    """The thresholds of the highest balanced accuracy; of sets, those of each class by itself.

    Those are tried that lie between two probabilities, and 1/2. Of thresholds that are as good the
    one nearest to 1/2 is taken: it is 1/2 where no other is better.

    Args:
        results: of labelled images; those with an error do not count.
        classes: names of the model's classes, two unless labels are sets.
        multilabel: whether labels are sets of classes.

    Raises:
        UserError: the images are all of one of two classes, and tell nothing.
    """
    good = [result for result in results if result.error is None]
    if multilabel:
        return Thresholds(
            {
                name: _best(
                    [r.probabilities[name] for r in good], [name in (r.truth or ()) for r in good]
                )
                for name in classes
            },
            len(good),
        )
    first, second = classes
    truths = {result.truth for result in good}
    if truths != {first, second}:
        raise UserError(f"the {len(good)} images are all of class {', '.join(map(str, truths))}")
    share = _best([r.probabilities[second] for r in good], [r.truth == second for r in good])
    return Thresholds({first: 1 - share, second: share}, len(good))


def _best(shares: list[float], has_class: list[bool]) -> float:
    """The threshold with the highest mean of recall and specificity; 1/2 if one is not defined."""
    share, has = torch.tensor(shares, dtype=torch.float64), torch.tensor(has_class)
    order = torch.unique(share)
    candidates = torch.cat(((order[1:] + order[:-1]) / 2, share.new_tensor([0.5])))
    with_it, without = share[has].sort().values, share[~has].sort().values
    found = len(with_it) - torch.searchsorted(with_it, candidates, right=True)
    spared = torch.searchsorted(without, candidates, right=True)
    merit = found * len(without) + spared * len(with_it)  # whole numbers, so that ties are ties
    best = candidates[merit == merit.max()]
    return float(best[(best - 0.5).abs().argmin()])
