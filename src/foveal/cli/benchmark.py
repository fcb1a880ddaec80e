"""foveal benchmark: what models and their parts cost on this machine, and how good they are."""

from collections.abc import Callable
from typing import Any

from foveal import _json
from foveal.cli._console import SUCCESS
from foveal.cli._options import Options, option
from foveal.cli._parsers import Token, new_app, run_command, show_topics, split_target


def tasks() -> dict[str, Callable[..., Any]]:
    """What can be measured, by name."""
    from foveal.field.benchmark import field
    from foveal.field.benchmark.large import large
    from foveal.field.benchmark.needle import needle
    from foveal.field.benchmark.photographs import photographs
    from foveal.paper import benchmark as paper

    known: dict[str, Callable[..., Any]] = {**paper.TASKS, "field": field, "large": large}
    return known | {"needle": needle, "photographs": photographs}


def benchmark(*tokens: Token) -> int:
    """Measure what models and their parts cost here, and how good gradients and predictions are."""
    known = tasks()
    name, rest = split_target(tokens)
    if name not in known:
        parser = new_app("benchmark", benchmark.__doc__ or "", usage="benchmark TASK [OPTIONS]")
        topics = {each: _describe(task) for each, task in known.items()}
        return show_topics(parser, "task", topics, name, rest)
    as_json = option("json", bool, False, "print one JSON object", "Run")
    options = Options(known[name])
    parameters = [*options.parameters, as_json]

    def measure(given: dict[str, Any]) -> int:
        wants_json = given.pop("json", False)
        measured = known[name](**options.group(given))
        print(_json.dumps(measured.summary()) if wants_json else measured)
        return SUCCESS

    return run_command(
        new_app(f"benchmark {name}", _describe(known[name])), measure, parameters, rest
    )


def _describe(task: Any) -> str:
    return str(task.__doc__).split("\n\n    Args:")[0]
