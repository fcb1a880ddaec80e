"""foveal data: the images that a recipe makes, as ordinary files."""

from pathlib import Path
from typing import Any

from foveal.cli.common import SUCCESS
from foveal.errors import UserError
from foveal.paper import recipes


def data(name: str, settings: dict[str, Any], *, output: str) -> int:
    """Write the images of all parts into a new folder."""
    experiment = recipes.made(name, settings)
    if experiment.write is None:
        raise UserError(f"the recipe {name} reads images and makes none: there is nothing to write")
    experiment.write(Path(output))
    print(output)
    return SUCCESS
