"""An experiment: a model, the data it learns from, and how it is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from foveal.data import Splits
    from foveal.objectives import Objective
    from foveal.settings import Beginning, Training

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model, the data it learns from, and how it is trained: what a recipe returns.

    Attributes:
        recipe: name of the recipe.
        options: keywords of the recipe, groups of settings and plain values; complete: what was
            inferred from the data is filled in.
        classes: names of the classes, in the order of the logits.
        model: untrained, or with pretrained parts.
        splits: reads or paints the images. A `CachedCall` of a function of this package with plain
            values, so that a run can write it down.
        training: how it is trained.
        objective: a function of this package that training minimises; None: see
            `foveal.training.fit`.
        multilabel: whether an image has any number of the classes instead of exactly one.
        write: writes the images into a folder as ordinary files; None if they are files already.
        notes: what was inferred or noticed, a line each.
        beginning: the phases before training end to end; None: there are none.
    """

    recipe: str
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    model: nn.Module
    splits: Callable[[], Splits]
    training: Training
    objective: Objective | None = None
    multilabel: bool = False
    write: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()
    beginning: Beginning | None = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights made inside are a function of the seed; torch's own generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class CachedCall(partial[T]):
    """A `functools.partial` that calls its function once and returns the same result afterwards."""

    def __call__(self) -> T:
        """Return the result of the first call."""
        if "result" not in self.__dict__:
            self.result = super().__call__()
        return self.result


def option_places(recipe: Callable[..., Experiment]) -> dict[str, tuple[str, str | None]]:
    """Return where each option of a recipe belongs: its keyword, and the field if that is a group.

    Args:
        recipe: a function whose keywords are groups of settings and plain values.
    """
    places: dict[str, tuple[str, str | None]] = {}
    for keyword, parameter in inspect.signature(recipe).parameters.items():
        if is_dataclass(group := parameter.default):
            places |= {field.name: (keyword, field.name) for field in fields(group)}
        else:
            places[keyword] = (keyword, None)
    return places


def group_options(recipe: Callable[..., Experiment], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a recipe from options by name; the other fields keep their defaults.

    Args:
        recipe: see `option_places`.
        options: values by the name of a field of a group, or of a keyword that is no group.

    Raises:
        KeyError: an option that the recipe does not have.
        ValueError: a value is out of range.
    """
    places, parameters = option_places(recipe), inspect.signature(recipe).parameters
    keywords: dict[str, Any] = {}
    changes: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        keyword, field = places[option]
        if field is None:
            keywords[keyword] = value
        else:
            changes.setdefault(keyword, {})[field] = value
    for keyword, changed in changes.items():
        keywords[keyword] = replace(parameters[keyword].default, **changed)
    return keywords
