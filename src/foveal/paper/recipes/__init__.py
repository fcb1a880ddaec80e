"""Recipes: one experiment a file, and in it one function whose keywords are the settings.

A recipe is `recipe(**settings) -> Experiment`. Importing one costs no torch: what is heavy is
imported when it is called. Its docstring tells, a line each, the command, the hardware, the time,
the paper's number and ours.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal

from foveal.errors import UserError
from foveal.experiment import Experiment, seeded

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
"""All recipes: `foveal.paper.recipes.NAME.NAME` is the function."""

COUNTS = ("k", "patch", "steps", "batch", "train", "validation", "test", "size", "layers", "width")
"""Settings of any recipe that must be 1 or more."""

Estimator = Literal["exact", "conditional", "score_function", "diagonal", "diagonal_centred"]
"""Of the gradient of the selection; the same as in `foveal.topk.perturbed`, without its torch."""

AS_PUBLISHED = "as_published: the errors of the paper's released code are brought back; see --help"
"""What is said where a recipe is told so; its docstring tells what that means there."""

__all__ = ["Experiment", "seeded"]

Recipe = Callable[..., Experiment]


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
        raise UserError(f"unknown recipe {name!r}: {hint}")
    recipe: Recipe = getattr(import_module(_home(name)), name)
    return recipe


def _home(name: str) -> str:
    return "foveal.planning.folder" if name == "folder" else f"foveal.paper.recipes.{name}"


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
