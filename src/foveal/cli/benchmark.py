"""foveal benchmark: what the models and their parts cost on this machine."""

from typing import Any

from foveal import _json
from foveal.cli._console import SUCCESS
from foveal.cli._options import Options, option
from foveal.cli._parsers import Token, new_app, run_command, show_topics, split_target
from foveal.errors import UserError, nearest


def benchmark(*tokens: Token) -> int:
    """Measure what the models and their parts cost on this machine, and how good a gradient is."""
    from foveal.paper.benchmark import TASKS

    name, rest = split_target(tokens)
    if name is None:
        parser = new_app("benchmark", benchmark.__doc__ or "", usage="benchmark TASK [OPTIONS]")
        return show_topics(parser, "task", {n: _describe(task) for n, task in TASKS.items()}, rest)
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    as_json = option("json", bool, False, "print one JSON object", "Run")
    parameters = [*Options(TASKS[name]).parameters, as_json]

    def measure(given: dict[str, Any]) -> int:
        wants_json = given.pop("json", False)
        measured = TASKS[name](**given)
        print(_json.dumps(measured.summary()) if wants_json else measured)
        return SUCCESS

    return run_command(
        new_app(f"benchmark {name}", _describe(TASKS[name])), measure, parameters, rest
    )


def _describe(task: Any) -> str:
    return str(task.__doc__).split("\n\n    Args:")[0]
