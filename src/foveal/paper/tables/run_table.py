"""The runs of a table that are not made yet, and the table."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal._files import write
from foveal.errors import UserError
from foveal.paper import recipes
from foveal.paper.tables.definitions import TABLES, Row, Scale, Size, Table
from foveal.paper.tables.format_table import table as told
from foveal.paper.tables.process_pool import work
from foveal.paper.tables.trial import Outcome, Trial, made
from foveal.runs import run as runs


def reproduce(
    name: str,
    *,
    scale: Scale,
    seeds: Sequence[int],
    rows: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    output: Path,
    jobs: int = 1,
    precision: str = "32-true",
    say: Callable[[str], None] = print,
) -> str:
    """Make the runs of a table that are not made yet.

    Args:
        name: a key of `TABLES`.
        scale: "full", the paper's, or "mini".
        seeds: one run of every row for each.
        rows: names of those that are wanted; none: all.
        settings: keywords of the recipes that override the table's.
        output: folder for all runs; made where it is missing.
        jobs: runs at once, each in a process of its own, on a GPU of its own where there are any;
            1: in this process.
        precision: see `foveal.training.Settings`.
        say: told a line whenever a run is complete.

    Returns:
        The table in Markdown.

    Raises:
        KeyboardInterrupt: what was made is kept, and the next call goes on.
        UserError: a row is unknown, or the data are not as they should be.
    """
    table = TABLES[name]
    size = table.sizes[scale]
    chosen = _chosen(table, rows)
    # all rows of one seed before the next: an early look compares them fairly
    asked = [(row, seed) for seed in seeds for row in chosen]
    trials = [_trial(row, size, seed, settings or {}, output, precision) for row, seed in asked]
    known = [made(trial) for trial in trials]
    outcomes: dict[str, list[Outcome]] = {row.name: [] for row in chosen}
    for (row, _), outcome in zip(asked, known, strict=True):
        if outcome is not None:
            outcomes[row.name].append(outcome)
    left = [number for number, outcome in enumerate(known) if outcome is None]
    done = len(trials) - len(left)
    for number, outcome in work([trials[number] for number in left], jobs):
        row, seed = asked[left[number]]
        outcomes[row.name].append(outcome)
        done += 1
        say(f"{done} of {len(trials)}: {row.name}, seed {seed}: {_result(outcome)}")
        write(output / f"{name}.md", _page(table, outcomes).encode())
    return _page(table, outcomes)


def _chosen(table: Table, names: Sequence[str]) -> tuple[Row, ...]:
    known = {row.name: row for row in table.rows}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no row {unknown[0]!r}: there are {'; '.join(known)}")
    return tuple(row for row in table.rows if not names or row.name in names)


def _trial(
    row: Row, size: Size, seed: int, override: Mapping[str, Any], output: Path, precision: str
) -> Trial:
    recipe = row.recipe or size.recipe
    known = recipes.keywords(recipe)
    common = {key: value for key, value in size.settings.items() if key in known}
    settings = {**common, **row.settings, **override, "seed": seed}
    if unknown := sorted(set(settings) - known):
        raise UserError(f"the recipe {recipe} has no setting {', '.join(unknown)}")
    if missing := recipes.required(recipe) - set(settings):
        raise UserError(f"--{missing.pop()} must be given: the recipe {recipe} makes no images")
    own = {key: value for key, value in {**row.settings, **override}.items() if key != "data"}
    path = output / recipe / (folder(own) or "as it is") / f"seed {seed}"
    return Trial(recipe, runs.typed(recipe, settings), path, precision)


def folder(settings: Mapping[str, Any]) -> str:
    """A name for settings that file systems take.

    >>> folder({"join": "max", "view": (4, 5)})
    'join max, view 4 5'
    """
    words = (f"{key} {value}" for key, value in sorted(settings.items()))
    return ", ".join(re.sub(r"[^\w.-]+", " ", word).strip() for word in words)


def _result(outcome: Outcome) -> str:
    minutes = f"({outcome.seconds / 60:.1f} min)"
    if outcome.accuracy is None:
        return f"broke off: {outcome.failure} {minutes}"
    return f"{outcome.accuracy:.1%} {minutes}"


def _page(table: Table, outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    return f"{table.title}\nPaper: {table.paper}.\n\n{told(table, outcomes)}\n"
