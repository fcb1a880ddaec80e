"""foveal train: train on your own images or by a recipe, then evaluate the model."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from foveal.cli import _recipes
from foveal.cli._console import SUCCESS, log
from foveal.cli._options import Options, command, new_app
from foveal.cli._spellings import modernise
from foveal.errors import UserError
from foveal.paper import recipes
from foveal.settings import Hardware

DESCRIPTION = """
Train a model on your own images, or by a recipe, and evaluate it.

DATA is a folder with one sub-folder per class, or a CSV with the columns file,label. What is not
given is inferred from the images and printed. The options below are those for your own images;
foveal train RECIPE --help lists those of a recipe.
"""

app = cyclopts.App(name="train", help_flags=[], version_flags=[])
"""The options depend on the first word, so all words are passed on."""


@app.default
def train(*tokens: Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)]) -> int:
    """Train a model on your own images, or by a recipe, and evaluate it."""
    target, rest = _recipes.split_target(tokens)
    asked = {} if {"-h", "--help"} & set(rest) else _read_ahead(rest)
    if target is None and asked is not None:
        name, data = _recipe_of_run(asked) if asked else "folder", None
    ...
    return SUCCESS


def run(
    name: str,
    keywords: Mapping[str, Any],
    *,
    output: Path | None = None,
    resume: bool = False,
    hardware: Hardware = Hardware(),
) -> int:
    """Train, evaluate the best model, and print what can be done next.

    Args:
        name: of the recipe.
        keywords: of the recipe.
        output: folder of the run (default: runs/NAME).
        resume: go on with the run in that folder.
        hardware: what to train on.
    """
