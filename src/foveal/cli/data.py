"""foveal data: the images of a recipe, as ordinary files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.cli import _recipes
from foveal.cli._console import SUCCESS
from foveal.cli._options import Options
from foveal.cli._parsers import Token, new_app, run_command, show_topics, split_target
from foveal.errors import UserError
from foveal.paper import recipes


def data(*tokens: Token) -> int:
    """Write the images of a recipe as ordinary files."""
    name, rest = split_target(tokens)
    known = name in recipes.NAMES
    usage = f"data {name if known else 'RECIPE'} --output PATH [OPTIONS]"
    parser = new_app(f"data {name if known else ''}", data.__doc__ or "", usage=usage)
    if name not in recipes.NAMES:
        return show_topics(parser, "recipe", _recipes.summaries(), name, rest)
    recipe = Options(recipes.find(name))

    def start(given: dict[str, Any]) -> int:
        return write(name, recipe.select(given), output=given["output"])

    return run_command(parser, start, [*recipe.parameters, *Options(write).parameters], rest)


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
