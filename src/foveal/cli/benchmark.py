"""foveal benchmark: what models and their parts cost on this machine, and how good they are."""

import json
from collections.abc import Callable
from typing import Any

from foveal.cli._console import SUCCESS
from foveal.cli._options import Options, option
from foveal.cli._parsers import Token, new_app, run_command, show_topics, split_target
from foveal.errors import UserError, nearest


def benchmark(*tokens: Token) -> int:
    """Measure what models and their parts cost here, and how good gradients and predictions are."""
    from foveal.field.benchmark import field
    from foveal.paper import benchmark as paper

    tasks: dict[str, Callable[..., Any]] = {**paper.TASKS, "field": field}
    name, rest = split_target(tokens)
    if name is None:
        parser = new_app("benchmark", benchmark.__doc__ or "", usage="benchmark TASK [OPTIONS]")
        return show_topics(parser, "task", {n: _describe(task) for n, task in tasks.items()}, rest)
    if name not in tasks:
        raise UserError(f"unknown task {name!r}: {nearest(name, tasks)}")
    as_json = option("json", bool, False, "print one JSON object", "Run")
    options = Options(tasks[name])
    parameters = [*options.parameters, as_json]

    def measure(given: dict[str, Any]) -> int:
        wants_json = given.pop("json", False)
        measured = tasks[name](**options.group(given))
        print(json.dumps(measured.summary()) if wants_json else measured)
        return SUCCESS

    return run_command(
        new_app(f"benchmark {name}", _describe(tasks[name])), measure, parameters, rest
    )


def _describe(task: Any) -> str:
    return str(task.__doc__).split("\n\n    Args:")[0]
