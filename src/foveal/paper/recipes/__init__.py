"""Recipes: one experiment per file, a function whose keywords are groups of settings.

A recipe is `recipe(**groups) -> Experiment`. Importing one does not import torch. Its docstring
states, one line each, the command, the hardware, the time, the paper's number and ours.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from foveal.errors import UserError, nearest
from foveal.experiment import Experiment, group_options, option_places

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
"""All recipes; `find` gives the function."""

AS_PUBLISHED = "as_published: the errors of the paper's released code are reproduced; see --help"
NO_WEIGHTS = "warning: without --weights, the encoder starts from random weights, not ImageNet's"

Recipe = Callable[..., Experiment]


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none; the message suggests the nearest.
    """
    if name not in NAMES:
        raise UserError(f"unknown recipe {name!r}: {nearest(name, NAMES)}")
    home = "foveal.planning.folder" if name == "folder" else f"foveal.paper.recipes.{name}"
    recipe: Recipe = getattr(import_module(home), name)
    return recipe


def required(name: str) -> set[str]:
    """The keywords of a recipe without default."""
    parameters = inspect.signature(find(name)).parameters.values()
    return {parameter.name for parameter in parameters if parameter.default is parameter.empty}


def build(name: str, options: Mapping[str, Any] | None = None) -> Experiment:
    """Call a recipe with options by name, as the command line gives them; the rest are defaults.

    Args:
        name: the recipe.
        options: values by the name of a field of a group, or of a keyword that is no group. Lists
            and text, as YAML and JSON have them, become tuples and paths.

    Raises:
        UserError: there is no such recipe or option, or a value is refused.
    """
    recipe = find(name)
    hints, places = get_type_hints(recipe), option_places(recipe)
    typed: dict[str, Any] = {}
    for option, value in (options or {}).items():
        if option not in places:
            raise UserError(f"the recipe {name} has no option {option}")
        keyword, field = places[option]
        hint = hints[keyword] if field is None else get_type_hints(hints[keyword])[field]
        typed[option] = _typed(value, hint)
    try:
        return recipe(**group_options(recipe, typed))
    except ValueError as error:
        raise UserError(str(error)) from error


def _typed(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and Path in (hint, *get_args(hint)):
        return Path(value)
    return value


def described(recipe: Recipe) -> str:
    """A recipe's docstring without its arguments."""
    return (inspect.getdoc(recipe) or "").split("\n\nArgs:")[0]


def facts(recipe: Recipe) -> dict[str, str]:
    """What a recipe's docstring states: its first line as `what`; `time`, `ours` and so on.

    >>> facts(find("billiards_mini"))["command"]
    'foveal train billiards_mini'
    """
    text = described(recipe)
    lines = re.findall(r"^(Command|Hardware|Time|Paper|Ours): +(.+)$", text, re.MULTILINE)
    return {"what": text.splitlines()[0]} | {name.lower(): value for name, value in lines}
