"""The command line: what is asked is parsed here, and done in `foveal.commands`.

A command takes its arguments and returns the exit status. torch is imported only when all is
parsed, so that help and mistakes cost no waiting. Results go to standard output, all else to
standard error; a user's mistake is one line there, and exit status 2.
"""

import errno
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foveal import __version__
from foveal.cli import options
from foveal.errors import UserError
from foveal.paper import recipes

SUCCESS, MISTAKE, INTERRUPTED, PIPE_CLOSED = 0, 2, 130, 141
USERS_TO_MEND = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE)

HELP = """usage: foveal COMMAND ...

Recognise things in large images when the answer sits in a few small places.

commands:
{}

foveal COMMAND --help tells the options of a command, foveal --version the version.
"""
RUN = "folder of the run, as printed by foveal train"
IMAGES = "image files, or folders of them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None: those the program was called with.

    Returns:
        The exit status: 0 on success, 2 after a user's mistake, 130 after Ctrl-C.
    """
    # What Pillow thinks of a file's metadata is not for the user: what cannot be read is said.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except UserError as error:
        return _complain(str(error), MISTAKE)
    except KeyboardInterrupt as stop:
        return _complain(f"interrupted{f': {stop}' if str(stop) else ''}", INTERRUPTED)
    except BrokenPipeError:
        # else the interpreter complains when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in USERS_TO_MEND:
            raise
        place = f"{error.filename}: " if error.filename else ""
        return _complain(f"{place}{error.strerror}", MISTAKE)


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        told = {word: (command.__doc__ or "").splitlines()[0] for word, command in COMMANDS.items()}
        print(HELP.format(_columns(told)), end="")
        return SUCCESS if arguments else _complain("name a command", MISTAKE)
    if name == "--version":
        print(__version__)
        return SUCCESS
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}: {options.nearest(name, COMMANDS)}")
    try:
        return COMMANDS[name](arguments[1:])
    except SystemExit as end:  # after --help
        return int(end.code or SUCCESS)


def _complain(message: str, status: int) -> int:
    print(f"foveal: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def _columns(told: Mapping[str, str]) -> str:
    width = max(map(len, told)) + 2
    return "\n".join(f"  {word:<{width}}{line}" for word, line in told.items())


def _chosen(
    command: str, what: str, choices: Mapping[str, str], arguments: list[str]
) -> tuple[str, list[str]]:
    """The recipe or task a command is about, and the arguments after it."""
    usage = f"usage: foveal {command} {what.upper()} [options]"
    if not arguments or arguments[0].startswith("-"):
        if {"-h", "--help"} & set(arguments):
            more = f"foveal {command} {what.upper()} --help tells the options of each."
            print(f"{usage}\n\n{COMMANDS[command].__doc__}\n\n{_columns(choices)}\n\n{more}")
            raise SystemExit(SUCCESS)
        raise UserError(f"name a {what} first, of {', '.join(choices)}: {usage[7:]}")
    if arguments[0] not in choices:
        raise UserError(
            f"unknown {what} {arguments[0]!r}: {options.nearest(arguments[0], choices)}"
        )
    return arguments[0], arguments[1:]


def _recipe(command: str, arguments: list[str]) -> tuple[str, recipes.Recipe, list[str]]:
    told = {name: recipes.facts(recipes.find(name))["what"] for name in recipes.NAMES}
    name, rest = _chosen(command, "recipe", told, arguments)
    return name, recipes.find(name), rest


def list_recipes(arguments: list[str]) -> int:
    """List the recipes, with their time and result."""
    options.parse(options.parser("recipes", list_recipes.__doc__), arguments)
    width = max(map(len, recipes.NAMES)) + 2
    for name in recipes.NAMES:
        facts = recipes.facts(recipes.find(name))
        told = [f"{key}: {facts[key]}" for key in ("time", "ours") if key in facts]
        print(f"{name:<{width}}{'; '.join([facts['what'].rstrip('.'), *told])}")
    return SUCCESS


def train(arguments: list[str]) -> int:
    """Train a model by a recipe, and evaluate it."""
    name, recipe, rest = _recipe("train", arguments)
    resume = "--resume" in rest
    parser = options.parser(f"train {name}", recipes.described(recipe))
    options.add(parser, recipe, required=not resume)
    parser.add_argument("--output", type=str, help=f"folder of the run, else runs/{name}")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--devices", type=int, default=1, help="of each machine; -1: all")
    parser.add_argument("--nodes", type=int, default=1, help="machines that train together")
    parser.add_argument(
        "--precision", type=str, default="32-true", help="32-true, bf16-mixed or 16-mixed"
    )
    # what is not given is left to the run that is resumed
    settings = options.parse(parser, rest, recipe, defaults=not resume)
    how = {
        key: settings.pop(key, parser.get_default(key)) for key in ("devices", "nodes", "precision")
    }
    output = settings.pop("output", None) or f"runs/{name}"
    settings.pop("resume")

    from foveal.cli.train import train as run

    return run(name, settings, output=output, resume=resume, **how)


def evaluate(arguments: list[str]) -> int:
    """Tell how well a trained model does, on its test images or on others."""
    parser = options.parser("evaluate", evaluate.__doc__)
    parser.add_argument("run", type=str, help=RUN)
    parser.add_argument(
        "--data", type=str, help="a labelled folder or CSV, else the recipe's own test images"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = options.parse(parser, arguments)

    from foveal.cli.evaluate import evaluate as run

    return run(asked["run"], data=asked["data"], as_json=asked["json"])


def predict(arguments: list[str]) -> int:
    """Say what is in images, and where the model looked."""
    parser = options.parser("predict", predict.__doc__)
    parser.add_argument("run", type=str, help=RUN)
    parser.add_argument("images", type=str, nargs="+", help=IMAGES)
    parser.add_argument("--output", type=str, help="a .csv or .jsonl file, else CSV is printed")
    asked = options.parse(parser, arguments)

    from foveal.cli.predict import predict as run

    return run(asked["run"], asked["images"], output=asked["output"])


def explain(arguments: list[str]) -> int:
    """Show where the model looked: pictures, and a page of them that needs no server."""
    parser = options.parser("explain", explain.__doc__)
    parser.add_argument("run", type=str, help=RUN)
    parser.add_argument(
        "images", type=str, nargs="*", help=f"{IMAGES}; none: the recipe's own test images"
    )
    parser.add_argument("--output", type=str, required=True, help="folder for the page")
    parser.add_argument("--most", type=int, default=200, help="of the recipe's own images")
    asked = options.parse(parser, arguments)

    from foveal.cli.explain import explain as run

    return run(asked["run"], asked["images"], output=asked["output"], most=asked["most"])


def benchmark(arguments: list[str]) -> int:
    """Measure what the models and their parts cost on this machine, and how good a gradient is."""
    from foveal.paper import benchmark as measures

    tasks: dict[str, Callable[..., Any]] = {
        "selection": measures.selection,
        "extraction": measures.extraction,
        "step": measures.step,
        "scaling": measures.scaling,
        "models": measures.models,
        "speed": measures.speed,
        "estimators": measures.estimators,
    }
    told = {name: (task.__doc__ or "").splitlines()[0] for name, task in tasks.items()}
    name, rest = _chosen("benchmark", "task", told, arguments)
    parser = options.parser(
        f"benchmark {name}", (tasks[name].__doc__ or "").split("\n\n    Args:")[0]
    )
    options.add(parser, tasks[name])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = options.parse(parser, rest, tasks[name])

    as_json = asked.pop("json")
    measured = tasks[name](**asked)
    print(json.dumps(measured.summary()) if as_json else measured)
    return SUCCESS


def reproduce(arguments: list[str]) -> int:
    """Run a table of experiments: several seeds a row, going on where it stopped."""
    from foveal.paper.tables.definitions import TABLES

    told = {name: table.title for name, table in TABLES.items()}
    name, rest = _chosen("reproduce", "table", told, arguments)
    parser = options.parser(f"reproduce {name}", _rows(TABLES[name]))
    parser.add_argument(
        "--scale",
        type=str,
        choices=("full", "mini"),
        default="full",
        help="full, the paper's sizes, for a GPU; or mini, for two processor cores",
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each row")
    parser.add_argument("--rows", type=list[str], default=[], help='["Top-K, max"]; none: all')
    parser.add_argument(
        "--data", type=str, help="images of the recipe, where it does not make them"
    )
    parser.add_argument(
        "--settings", type=dict[str, Any], default={}, help='of the recipe: {"steps": 100}'
    )
    parser.add_argument("--output", type=str, help="folder, else reproductions/SCALE")
    parser.add_argument(
        "--jobs", type=int, help="runs at once, else one a GPU, or one a processor core"
    )
    parser.add_argument(
        "--precision", type=str, default="32-true", help="32-true, bf16-mixed or 16-mixed"
    )
    asked = options.parse(parser, rest)

    from foveal.cli.reproduce import reproduce as run

    return run(name, **asked)


def _rows(table: Any) -> str:
    lines = [f"  {row.name}: {row.paper or 'not in the paper'}" for row in table.rows]
    return "\n".join([table.title, f"Paper: {table.paper}.", "", "rows:", *lines])


def data(arguments: list[str]) -> int:
    """Write the images a recipe makes as ordinary files."""
    name, recipe, rest = _recipe("data", arguments)
    parser = options.parser(f"data {name}", data.__doc__)
    options.add(parser, recipe)
    parser.add_argument("--output", type=str, required=True, help="folder, made anew")
    settings = options.parse(parser, rest, recipe)

    from foveal.cli.data import data as run

    return run(name, settings, output=settings.pop("output"))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "recipes": list_recipes,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "explain": explain,
    "benchmark": benchmark,
    "reproduce": reproduce,
    "data": data,
}
