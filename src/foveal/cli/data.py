"""foveal data: the images of a field task or of a recipe, as ordinary files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal._terminal import say
from foveal.cli import _recipes
from foveal.cli._console import SUCCESS
from foveal.cli._options import Options
from foveal.cli._parsers import (
    Token,
    asks_help,
    list_in_help,
    new_app,
    run_command,
    show_topics,
    split_target,
)
from foveal.errors import UserError
from foveal.paper import recipes

PURPOSE = """
Write the images of a field task, or of a recipe, as ordinary files.

A field task becomes a data set for foveal train: labels.csv (file, label, split, group), boxes.csv
around the evidence, to check the selected windows by, and images unless the source has them.
"""


def data(*tokens: Token) -> int:
    """Write the images of a field task, or of a recipe, as ordinary files."""
    from foveal.field import TASKS

    name, rest = split_target(tokens)
    task = (name or "").replace("_", "-")
    if name is None or (task not in TASKS and name not in recipes.NAMES):
        parser = new_app("data", PURPOSE, usage="data TASK|RECIPE --output PATH [OPTIONS]")
        if asks_help(rest):
            list_in_help(parser, "Tasks", {each: _what(TASKS[each]) for each in TASKS})
        summaries = _recipes.summaries()
        topics = summaries if asks_help(rest) else {**dict.fromkeys(TASKS, ""), **summaries}
        return show_topics(parser, "task or recipe", topics, name, rest)
    is_task = task in TASKS
    own = Options(TASKS[task] if is_task else recipes.find(name))
    ours = Options(write_task if is_task else write_recipe)

    def start(given: dict[str, Any]) -> int:
        write = write_task if is_task else write_recipe
        return write(task if is_task else name, own.select(given), output=given["output"])

    text = _what(TASKS[task]) if is_task else data.__doc__ or ""
    parser = new_app(f"data {name}", text, usage=f"data {name} --output PATH [OPTIONS]")
    return run_command(parser, start, [*own.parameters, *ours.parameters], rest)


def write_task(name: str, options: Mapping[str, Any], /, *, output: Path) -> int:
    """Write the images of a field task into a new folder, and print how to train on them.

    Args:
        name: of the task.
        options: options of the task.
        output: a new folder.
    """
    from foveal.field import TASKS, write

    write(output, TASKS[name](**options))
    say(output / "labels.csv")
    return SUCCESS


def write_recipe(name: str, options: Mapping[str, Any], /, *, output: Path) -> int:
    """Write the images of all parts of a recipe into a new folder.

    Args:
        name: of the recipe.
        options: options of the recipe.
        output: a new folder.
    """
    experiment = recipes.build(name, options)
    if experiment.write is None:
        raise UserError(f"the recipe {name} reads images from files: there is nothing to write")
    experiment.write(output)
    say(output)
    return SUCCESS


def _what(task: Any) -> str:
    return str(task.__doc__).splitlines()[0]
