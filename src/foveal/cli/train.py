"""foveal train: train on your own images or by a recipe, then evaluate the model."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal._checks import check_logger
from foveal._devices import best_device
from foveal._terminal import say
from foveal.cli import _recipes
from foveal.cli._console import SUCCESS, log
from foveal.cli._options import Options, flag, show
from foveal.cli._parsers import (
    Token,
    asks_help,
    list_in_help,
    new_app,
    read_ahead,
    run_command,
    split_target,
)
from foveal.errors import UserError
from foveal.paper import recipes
from foveal.planning.folder import default_output
from foveal.settings import Hardware, LoggerName

OWN_IMAGES = """
Train a model on your own images, or by a recipe, and evaluate it.

DATA is a folder with one sub-folder per class, or a CSV with the columns file,label. What is not
given is inferred from the images and printed. The options below are those for your own images;
foveal train RECIPE --help lists those of a recipe.
"""


def train(*tokens: Token) -> int:
    """Train a model on your own images, or by a recipe, and evaluate it."""
    target, rest = split_target(tokens)
    if asks_help(rest):
        resume, data = False, None
        name = target if target in recipes.NAMES else "folder"
        if target is not None and name != target and not Path(target).exists():
            log(f"foveal: {_recipes.missing(target)}")
    else:
        ahead = read_ahead(rest, Options(run).only("output", "resume"))
        resume = ahead.get("resume", False)
        name, data = _resolve(target, ahead.get("output"), resume=resume)
    hidden = ("data",) if name == "folder" and target != "folder" else ()
    recipe = Options(recipes.find(name), without=hidden, required=not resume)
    ours = Options(run)

    def start(given: dict[str, Any]) -> int:
        asked = recipe.select(given) | ({} if data is None else {"data": data})
        return run(name, asked, **ours.group(given))

    parser = new_app(
        f"train {target or ''}",
        OWN_IMAGES if name == "folder" else _recipes.described(name),
        usage=f"train {target or 'DATA|RECIPE'} [OPTIONS]",
    )
    if target is None:
        list_in_help(parser, "Recipes", _recipes.summaries())
    return run_command(parser, start, [*recipe.parameters, *ours.parameters], rest)


def run(
    name: str,
    given: Mapping[str, Any],
    /,
    *,
    output: Path | None = None,
    resume: bool = False,
    logger: LoggerName | None = None,
    hardware: Hardware = Hardware(),
) -> int:
    """Train, evaluate the best model, and print what can be done next.

    Args:
        name: of the recipe.
        given: values by option of the recipe.
        output: folder of the run (default: runs/ and the name of the data or recipe).
        resume: continue the run in the output folder.
        logger: follow the training in Weights & Biases (wandb) or MLflow (mlflow) as well; its own
            environment variables say where.
        hardware: what to train on.
    """
    if output is None:
        own = name == "folder"
        output = default_output(given["data"], given.get("fold")) if own else Path("runs") / name
    if _is_cross_validation(output, given, resume=resume):
        if logger is not None:
            raise UserError(
                f"--logger {logger} follows one training: train each fold by itself, with --fold"
            )
        _cross_validate(output, given, hardware, resume=resume)
        return SUCCESS
    check_logger(logger)
    if resume:
        _resume(output, name, given, hardware, logger)
    else:
        _start(output, name, given, hardware, logger)

    from foveal._processes import is_rank_zero

    if is_rank_zero():
        _evaluate(output)
    return SUCCESS


def _is_cross_validation(output: Path, given: Mapping[str, Any], *, resume: bool) -> bool:
    """Whether all folds are asked for; a resumed one knows."""
    if not resume:
        return given.get("folds") is not None and given.get("fold") is None

    from foveal.runs.folder import RunFolder

    return RunFolder.open(output).is_cross_validation


def _cross_validate(
    output: Path, given: Mapping[str, Any], hardware: Hardware, *, resume: bool
) -> None:
    from foveal.planning import cross_validation
    from foveal.report.folds import format_folds

    if resume:
        _check_agreement(output, "folder", given)
        summary = cross_validation.resume(output, hardware)
    else:
        options = Options(recipes.find("folder")).group(given)
        summary = cross_validation.cross_validate(options, output, hardware)
    say(format_folds(summary))
    log(
        f"the runs are in {output}, fold0 and so on; the table is in {output}/cross_validation.md",
        "next, for one of them:",
        f"  foveal explain {shlex.quote(f'{output}/fold0')} --output explained",
    )


def _resolve(target: str | None, output: Path | None, *, resume: bool) -> tuple[str, Path | None]:
    """Find the recipe and the data; a run that is resumed knows its own."""
    if target is not None:
        return _recipes.resolve(target)
    if not resume:
        raise UserError(
            "name your data or a recipe: foveal train DATA or foveal train RECIPE; foveal recipes "
            "lists the recipes"
        )
    if output is None:
        raise UserError("name the run to go on with: foveal train --resume --output RUN")

    from foveal.runs.folder import RunFolder

    return _recipes.resolve(RunFolder.open(output).recipe)


def _start(
    output: Path,
    name: str,
    given: Mapping[str, Any],
    hardware: Hardware,
    logger: LoggerName | None,
) -> None:
    experiment = recipes.build(name, given)

    from foveal._processes import is_rank_zero  # no mistake should wait for these
    from foveal.phases import launch

    if is_rank_zero():
        log(*experiment.notes)
    launch.start(experiment, output, hardware, logger=logger)


def _resume(
    output: Path,
    name: str,
    given: Mapping[str, Any],
    hardware: Hardware,
    logger: LoggerName | None,
) -> None:
    from foveal.phases import launch

    _check_agreement(output, name, given)
    launch.resume(output, hardware, logger=logger)


def _check_agreement(output: Path, name: str, given: Mapping[str, Any]) -> None:
    """Refuse options that contradict those a run was begun with.

    Raises:
        UserError: it is the run of another recipe, or an option differs.
    """
    from foveal.runs.folder import RunFolder
    from foveal.runs.record import stored_options

    folder = RunFolder.open(output)
    begun = folder.recipe
    if begun != name:
        raise UserError(f"{output} is a run of the recipe {begun}, not of {name}")
    recipe = recipes.find(name)
    options = Options(recipe)
    stored = options.flatten(stored_options(folder, recipe))
    for option, value in given.items():
        if option in stored and _plain(value) != _plain(stored[option]):
            raise UserError(
                f"{flag(option)} {show(value)} contradicts the run in {output}, begun with "
                f"{option}={show(stored[option])}: leave it out, or start another run with "
                "--output"
            )


def _plain(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value


def _evaluate(output: Path) -> None:
    from foveal.cli.evaluate import print_report
    from foveal.report.verdict import verdict
    from foveal.runs import load
    from foveal.runs.folder import RunFolder

    report = print_report(load(output, device=best_device()))
    folder = RunFolder(output)
    say("", *verdict(report, folder.kept("baseline"), folder.kept("mixture")), "")
    path, page = shlex.quote(str(output)), shlex.quote(f"{output}/explained")
    log(
        f"the run is in {output}; next, with images of your own:",
        f"  foveal explain {path} IMAGES --output {page}",
        f"  foveal predict {path} IMAGES --output predictions.csv",
    )
