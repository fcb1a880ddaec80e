"""What a command is about: a recipe by its name, or a user's own data."""

from pathlib import Path

from foveal.errors import UserError, nearest
from foveal.paper import recipes

NAMES = tuple(name for name in recipes.NAMES if name != "folder")
"""The recipes with a name of their own."""


def described(name: str) -> str:
    """A recipe's docstring without its arguments."""
    return recipes.described(recipes.find(name))


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
    raise UserError(missing(target))


def missing(target: str) -> str:
    """Say that a target is neither a path nor a recipe, and suggest one."""
    hint = nearest(target, NAMES)
    return f"{target}: no such folder or CSV, and no recipe of this name: {hint}"
