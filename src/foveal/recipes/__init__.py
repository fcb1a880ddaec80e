"""Recipes: one experiment a file, and in it one function whose keywords are the settings.

A recipe is `recipe(**settings) -> Experiment`. Importing one costs no torch: what is heavy is
imported when it is called. Its docstring tells, a line each, the command, the hardware, the time,
the paper's number and ours.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from foveal.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from foveal.data import Splits
    from foveal.objectives import Objective
    from foveal.training import Settings

NAMES = (
    "folder",
    "billiards",
    "billiards_mini",
    "traffic_signs",
    "traffic_signs_cnn",
    "birds",
    "megapixel_mnist",
    "colon_cancer",
)
"""All recipes: `foveal.recipes.NAME.NAME` is the function."""

COUNTS = ("k", "patch", "steps", "batch", "train", "validation", "test", "size", "layers", "width")
"""Settings of any recipe that must be 1 or more."""

Estimator = Literal["exact", "conditional", "score_function", "diagonal", "diagonal_centred"]
"""Of the gradient of the selection; the same as in `foveal.topk.perturbed`, without its torch."""

AS_PUBLISHED = "as_published: the errors of the paper's released code are brought back; see --help"
"""What is said where a recipe is told so; its docstring tells what that means there."""

Recipe = Callable[..., "Experiment"]


@dataclass(frozen=True)
class Experiment:
    """A model, what it learns from, and how.

    Attributes:
        recipe: the name of the recipe that made it.
        settings: keywords for the recipe, plain values. Complete: with them the recipe makes the
            same model again without a look at the data.
        classes: names of the classes, in the order of the logits.
        model: untrained, or with pretrained parts.
        splits: makes or reads the images.
        training: how it is trained.
        objective: what training minimises; None: see `foveal.training.fit`.
        multilabel: whether an image bears a set of the classes, maybe none, instead of one.
        write: writes the images into a folder as ordinary files; None where they already are.
        notes: what was chosen or noticed, to be said aloud, a line each.
    """

    recipe: str
    settings: dict[str, Any]
    classes: tuple[str, ...]
    model: nn.Module
    splits: Callable[[], Splits]
    training: Settings
    objective: Objective | None = None
    multilabel: bool = False
    write: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
        raise UserError(f"unknown recipe {name!r}: {hint}")
    recipe: Recipe = getattr(import_module(f"foveal.recipes.{name}"), name)
    return recipe


def keywords(name: str) -> set[str]:
    """The settings of a recipe."""
    return set(inspect.signature(find(name)).parameters)


def required(name: str) -> set[str]:
    """The settings that a recipe has no default for."""
    parameters = inspect.signature(find(name)).parameters.values()
    return {parameter.name for parameter in parameters if parameter.default is parameter.empty}


def made(name: str, settings: Mapping[str, Any]) -> Experiment:
    """Call a recipe; what it refuses is the user's to mend.

    Raises:
        UserError: there is no such recipe, or a setting lies outside its range.
    """
    recipe = find(name)
    for key in COUNTS:
        value = settings.get(key)
        if isinstance(value, int) and value < 1:
            raise UserError(f"{key} must be 1 or more: got {value}")
    try:
        return recipe(**settings)
    except ValueError as error:
        raise UserError(str(error)) from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights made inside are a function of the seed; torch's own randomness is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def described(recipe: Recipe) -> str:
    """A recipe's docstring without its arguments."""
    return (inspect.getdoc(recipe) or "").split("\n\nArgs:")[0]


def facts(recipe: Recipe) -> dict[str, str]:
    """What a recipe's docstring tells: its first line as `what`; `time`, `ours` and so on.

    >>> facts(find("folder"))["command"]
    'foveal train folder --data PATH'
    """
    text = described(recipe)
    lines = re.findall(r"^(Command|Hardware|Time|Paper|Ours): +(.+)$", text, re.MULTILINE)
    return {"what": text.splitlines()[0]} | {name.lower(): value for name, value in lines}
