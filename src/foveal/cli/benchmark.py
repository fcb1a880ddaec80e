"""foveal benchmark: what the models and their parts cost on this machine."""

import json
from typing import Any

from foveal.cli._console import SUCCESS
from foveal.cli._options import Options, option
from foveal.cli._parsers import Token, new_app, run_command, show_topics, split_target


def benchmark(*tokens: Token) -> int:
    """Measure what the models and their parts cost on this machine, and how good a gradient is."""
    from foveal.paper.benchmark import TASKS

    name, rest = split_target(tokens)
    if name not in TASKS:
        parser = new_app("benchmark", benchmark.__doc__ or "", usage="benchmark TASK [OPTIONS]")
        tasks = {each: _describe(task) for each, task in TASKS.items()}
        return show_topics(parser, "task", tasks, name, rest)
    as_json = option("json", bool, False, "print one JSON object", "Run")
    parameters = [*Options(TASKS[name]).parameters, as_json]

    def measure(given: dict[str, Any]) -> int:
        wants_json = given.pop("json", False)
        measured = TASKS[name](**given)
        print(json.dumps(measured.summary()) if wants_json else measured)
        return SUCCESS

    return run_command(
        new_app(f"benchmark {name}", _describe(TASKS[name])), measure, parameters, rest
    )


def _describe(task: Any) -> str:
    return str(task.__doc__).split("\n\n    Args:")[0]
