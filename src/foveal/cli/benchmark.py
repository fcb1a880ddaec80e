"""foveal benchmark: what the models and their parts cost on this machine."""

import json
from typing import Any

from foveal.cli._console import SUCCESS
from foveal.cli._options import (
    Options,
    Token,
    asks_help,
    command,
    new_app,
    option,
    show_in_help,
    split_target,
)
from foveal.cli._spellings import modernise
from foveal.errors import UserError, nearest


def benchmark(*tokens: Token) -> int:
    """Measure what the models and their parts cost on this machine, and how good a gradient is."""
    from foveal.paper.benchmark import TASKS

    name, rest = split_target(tokens)
    if name is None:
        parser = new_app("benchmark", benchmark.__doc__ or "", usage="benchmark TASK [OPTIONS]")
        show_in_help(parser, "Tasks", {each: _describe(task) for each, task in TASKS.items()})
        if not asks_help(rest):
            raise UserError(f"name a task: {', '.join(TASKS)}")
        return int(parser(rest) or SUCCESS)
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    as_json = option("json", bool, False, "print one JSON object", "Run")
    parameters = [*Options(TASKS[name]).parameters, as_json]

    def measure(given: dict[str, Any]) -> int:
        wants_json = given.pop("json", False)
        measured = TASKS[name](**given)
        print(json.dumps(measured.summary()) if wants_json else measured)
        return SUCCESS

    parser = new_app(f"benchmark {name}", _describe(TASKS[name]))
    parser.default(command(measure, parameters))
    return int(parser(modernise(rest, parameters)) or SUCCESS)


def _describe(task: Any) -> str:
    return str(task.__doc__).split("\n\n    Args:")[0]
