"""What a command is about: a recipe by its name, or a user's own data."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.paper import recipes
from foveal.planning.folder import folder

Recipe = Callable[..., Experiment]

NAMES = tuple(name for name in recipes.NAMES if name != "folder")
"""The recipes with a name of their own."""


def find(name: str) -> Recipe:
    """Return the function of a recipe, or the one for a user's own data, "folder"."""
    return folder if name == "folder" else recipes.find(name)


def described(name: str) -> str:
    """A recipe's docstring without its arguments."""
    return recipes.described(find(name))


def summaries() -> dict[str, str]:
    """The first line of every recipe's docstring."""
    return {name: recipes.facts(recipes.find(name))["what"] for name in NAMES}


def resolve(target: str) -> tuple[str, Path | None]:
    """Find the recipe of a target, and the data if the target is a path.

    Raises:
        UserError: it is neither a recipe nor a path that exists.
    """
    if target == "folder" or target in NAMES:
        return target, None
    if Path(target).exists():
        return "folder", Path(target)
    near = difflib.get_close_matches(target, NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"recipes: {', '.join(NAMES)}"
    raise UserError(f"{target}: no such folder or CSV, and no recipe of this name; {hint}")


def build_experiment(name: str, keywords: Mapping[str, Any]) -> Experiment:
    """Call a recipe.

    Raises:
        UserError: what it refuses.
    """
    try:
        return find(name)(**keywords)
    except ValueError as error:
        raise UserError(str(error)) from error
