"""foveal data: the images of a recipe, as ordinary files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.cli import _recipes
from foveal.cli._console import SUCCESS
from foveal.cli._options import (
    Options,
    Token,
    asks_help,
    command,
    new_app,
    show_in_help,
    split_target,
)
from foveal.cli._spellings import modernise
from foveal.errors import UserError
from foveal.paper import recipes


def data(*tokens: Token) -> int:
    """Write the images of a recipe as ordinary files."""
    name, rest = split_target(tokens)
    parser = new_app(
        f"data {name or ''}".strip(),
        data.__doc__ or "",
        usage=f"data {name or 'RECIPE'} --output PATH [OPTIONS]",
    )
    if name is None:
        show_in_help(parser, "Recipes", _recipes.summaries())
        if not asks_help(rest):
            raise UserError(f"name a recipe: {', '.join(_recipes.NAMES)}")
        return int(parser(rest) or SUCCESS)
    recipe = Options(recipes.find(name))
    parameters = [*recipe.parameters, *Options(write).parameters]

    def start(given: dict[str, Any]) -> int:
        return write(name, recipe.select(given), output=given["output"])

    parser.default(command(start, parameters))
    return int(parser(modernise(rest, parameters)) or SUCCESS)


def write(name: str, options: Mapping[str, Any], /, *, output: Path) -> int:
    """Write the images of all parts into a new folder.

    Args:
        name: of the recipe.
        options: options of the recipe.
        output: a new folder.
    """
    experiment = recipes.build(name, options)
    if experiment.write is None:
        raise UserError(f"the recipe {name} reads images from files: there is nothing to write")
    experiment.write(output)
    print(output)
    return SUCCESS
