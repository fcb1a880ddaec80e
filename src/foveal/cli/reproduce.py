"""foveal reproduce: train the runs of a table that do not exist yet, and print the table."""

from collections.abc import Mapping
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foveal.cli._console import SUCCESS, log
from foveal.cli._options import Options
from foveal.cli._parsers import Token, new_app, read_ahead, run_command, show_topics, split_target
from foveal.errors import UserError
from foveal.paper import recipes
from foveal.settings import Precision

if TYPE_CHECKING:
    from foveal.paper.tables.definitions import PaperTable

Scale = Literal["full", "mini"]


def reproduce(*tokens: Token) -> int:
    """Train all runs of a table, several seeds per row; the same command goes on after a stop."""
    from foveal.paper.tables.definitions import TABLES

    name, rest = split_target(tokens)
    if name not in TABLES:
        parser = new_app("reproduce", reproduce.__doc__ or "", usage="reproduce TABLE [OPTIONS]")
        titles = {each: table.title for each, table in TABLES.items()}
        return show_topics(parser, "table", titles, name, rest)
    ours = Options(run)
    scale: Scale = read_ahead(rest, ours.only("scale")).get("scale", "full")
    options = _recipe_options(TABLES[name], scale)

    def start(given: dict[str, Any]) -> int:
        asked = {option: value for option, value in given.items() if option in options}
        return run(name, asked, **ours.group(given))

    parser = new_app(f"reproduce {name}", _describe(TABLES[name], scale))
    return run_command(parser, start, [*ours.parameters, *options.values()], rest)


def run(
    name: str,
    options: Mapping[str, Any],
    /,
    *,
    scale: Scale = "full",
    seeds: int = 5,
    rows: tuple[str, ...] = (),
    output: Path | None = None,
    jobs: int | None = None,
    precision: Precision = "32-true",
) -> int:
    """Train what is missing, and print the table.

    Args:
        name: of the table.
        options: options of the recipes that override the table's.
        scale: full, the sizes of the paper, for a GPU; or mini, for two processor cores.
        seeds: number of runs per row.
        rows: names of the rows to run, in quotes (default: all).
        output: folder of the runs and the table (default: reproductions/SCALE).
        jobs: number of runs at a time (default: one per GPU, or one per processor core).
        precision: 32-true, bf16-mixed or 16-mixed.
    """
    import torch

    from foveal._processes import cores
    from foveal.paper.tables.run_table import reproduce as run_table

    for option, value in (("seeds", seeds), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UserError(f"--{option} must be 1 or more: got {value}")
    folder = output or Path("reproductions") / scale
    try:
        page = run_table(
            name,
            scale=scale,
            seeds=range(seeds),
            rows=rows,
            settings=options,
            output=folder,
            jobs=jobs or torch.cuda.device_count() or cores(),
            precision=precision,
            say=log,
        )
    except KeyboardInterrupt as stop:
        raise type(stop)("finished runs are kept; the same command goes on") from None
    print(page, end="")
    log(f"the runs and this table are in {folder}")
    return SUCCESS


def _recipe_options(table: "PaperTable", scale: Scale) -> dict[str, Parameter]:
    """The options of all recipes of a table, none of them required."""
    found: dict[str, Parameter] = {}
    for name in table.recipes(scale):
        recipe = Options(recipes.find(name), without=("seed",), required=False)
        found = {parameter.name: parameter for parameter in recipe.parameters} | found
    return found


def _describe(table: "PaperTable", scale: Scale) -> str:
    rows = [f"  {row.name}: {row.paper or 'not in the paper'}" for row in table.rows]
    lines = [table.title, "", f"Paper: {table.paper}.", "", "Rows:", *rows, ""]
    names = " and ".join(table.recipes(scale))
    lines += [f"The options of {names} (scale {scale}) override those of all rows."]
    return "\n".join(lines)
