"""Do the looks matter? A trained model is evaluated again with one of its parts changed.

    alone      without the vote of the view as a whole: what the patches say by themselves
    blanked    every patch in the mean colour of all patches: what is left without the looks
    soft       mixed patches, as at the first step of training, instead of plain crops
    hard       plain crops, where the model predicts with mixed patches

A model that answers as well with blanked looks does not answer by them. And what an untrained
scorer hits is the floor of a hit rate: such a scorer responds to edges, as many a thing does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.data import Dataset
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.evaluation.metrics import Report
from foveal.evaluation.results import Looks
from foveal.models import PatchClassifier
from foveal.nn.protocols import Encoder, Scorer
from foveal.nn.selectors import Sinkhorn, TopK
from foveal.prediction import Prediction


def evaluate_looks(
    model: nn.Module,
    dataset: Dataset,
    batch_size: int = 32,
    *,
    classes: Sequence[str],
    untrained: Sequence[Scorer],
) -> Report:
    """Evaluate a model, and with it whether its looks matter.

    It takes one pass over the images for each of the above, and one for each untrained scorer if
    there are boxes.

    Args:
        model: a `PatchClassifier`; it stays as it is.
        dataset: labelled images.
        batch_size: images per forward pass.
        classes: names of the model's classes.
        untrained: scorers like the model's with other first weights, on its device.

    Returns:
        The report, with `looks`.

    Raises:
        UserError: the model is another, which has no such parts.
    """
    if not isinstance(model, PatchClassifier):
        raise UserError(
            f"whether looks matter can be measured of a PatchClassifier: this is a "
            f"{type(model).__name__}"
        )
    again = partial(evaluate, model, dataset, batch_size, classes=classes)
    colour = _MeanColour()
    report = again(on_prediction=colour.add)
    blank = _Blank(model.encoder, colour.mean)
    variants = {}
    for name, parts in _changes(model, blank).items():
        with _changed(model, **parts):
            variants[name] = again()
    rates = list[float]()
    for scorer in untrained if report.hit_rate is not None else ():
        with _changed(model, scorer=scorer, encoder=blank, global_head=None):
            rates += [rate] if (rate := again().hit_rate) is not None else []
    floor = sum(rates) / len(rates) if rates else None
    figures = {n: (r.accuracy, r.balanced_accuracy) for n, r in variants.items()}
    return replace(report, looks=Looks(figures, floor))


def _changes(model: PatchClassifier, blank: nn.Module) -> dict[str, dict[str, Any]]:
    """The parts that are changed, by what the change is called."""
    changes: dict[str, dict[str, Any]] = {}
    if model.global_head is not None and bool(model.global_head.linear.weight.any()):
        changes["alone"] = {"global_head": None}
    changes["blanked"] = {"encoder": blank}
    select = model.select
    if isinstance(select, TopK | Sinkhorn):
        soft = not select.soft_evaluation
        if isinstance(select, Sinkhorn):
            other: nn.Module = Sinkhorn(
                select.k,
                epsilon=select.epsilon,
                iterations=select.iterations,
                solver=select.solver,
                soft_evaluation=soft,
            )
        else:
            other = TopK(select.k, sigma=select.sigma, soft_evaluation=soft)
        changes["soft" if soft else "hard"] = {"select": other}
    return changes


@contextmanager
def _changed(model: PatchClassifier, **parts: Any) -> Iterator[None]:
    """Other parts for a moment."""
    before = {name: getattr(model, name) for name in parts}
    try:
        _set(model, parts)
        yield
    finally:
        _set(model, before)


def _set(model: nn.Module, parts: dict[str, Any]) -> None:
    for name, part in parts.items():
        if not (part is None or isinstance(part, nn.Module)):
            delattr(model, name)  # a module gives its place to a module only
        setattr(model, name, part)


class _MeanColour:
    """The mean of each channel over the patches of all predictions."""

    def __init__(self) -> None:
        self._total, self._images = torch.zeros(()), 0

    def add(self, prediction: Prediction, sizes: list[tuple[int, int]]) -> None:
        """Take note of a batch."""
        means = prediction.patches.float().mean(dim=(1, 3, 4))  # (B, C)
        self._total = self._total.to(means.device) + means.sum(dim=0)
        self._images += len(sizes)

    @property
    def mean(self) -> Float[Tensor, " C"]:
        """The colour."""
        return self._total / self._images


class _Blank(nn.Module):
    """An encoder that sees one colour, whatever the patches are."""

    def __init__(self, encoder: Encoder, colour: Float[Tensor, " C"]) -> None:
        super().__init__()
        self.encoder, self.colour, self.features = encoder, colour, encoder.features

    def forward(self, patches: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D"]:
        """Encode a patch of the colour once, for all."""
        blank = self.colour.to(patches)[None, :, None, None].expand_as(patches[:1])
        features: Tensor = self.encoder(blank.contiguous())
        return features.expand(len(patches), -1)
