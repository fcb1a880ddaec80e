"""Train the runs of a table that do not exist yet, and format the table."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal._files import write
from foveal.errors import UserError
from foveal.experiment import option_places
from foveal.paper import recipes
from foveal.paper.tables.definitions import TABLES, PaperTable, Scale, TableRow
from foveal.paper.tables.format_table import format_table
from foveal.paper.tables.process_pool import run_trials
from foveal.paper.tables.trial import Outcome, Trial, read_outcome
from foveal.settings import Hardware, Precision

Outcomes = Mapping[str, Sequence[Outcome]]


def reproduce(
    name: str,
    *,
    scale: Scale,
    seeds: Sequence[int],
    rows: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    output: Path,
    jobs: int = 1,
    precision: Precision = "32-true",
    say: Callable[[str], None] = print,
) -> str:
    """Train the runs of a table that do not exist yet.

    Args:
        name: a key of `TABLES`.
        scale: "full", the paper's, or "mini".
        seeds: one run of every row per seed.
        rows: names of the rows to run; none: all.
        settings: options that override the table's, in all recipes that have them.
        output: folder for all runs; created if missing.
        jobs: number of runs at a time, each in a process of its own, on a GPU of its own if there
            are any; 1: in this process.
        precision: see `foveal.settings.Hardware`.
        say: called with a line whenever a run is complete.

    Returns:
        The table in Markdown.

    Raises:
        KeyboardInterrupt: what is complete is kept, and the next call goes on.
        UserError: a row is unknown, or the data are not as they should be.
    """
    table = TABLES[name]
    _check_known(table, scale, settings or {})

    def keep(outcomes: Outcomes) -> None:
        write(output / f"{name}.md", _page(table, outcomes).encode())

    outcomes = train_rows(
        replace(table, rows=_choose(table, rows)),
        scale=scale,
        seeds=seeds,
        settings=settings or {},
        output=output,
        jobs=jobs,
        precision=precision,
        say=say,
        keep=keep,
    )
    return _page(table, outcomes)


def train_rows(
    table: PaperTable,
    *,
    scale: Scale,
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    output: Path,
    jobs: int = 1,
    precision: Precision = "32-true",
    say: Callable[[str], None] = print,
    keep: Callable[[Outcomes], None] = lambda _: None,
) -> Outcomes:
    """The outcomes of all runs of a table, by row; those that do not exist yet are trained.

    Args:
        table: what to train.
        scale: see `reproduce`, as the others.
        seeds: one run of every row per seed.
        settings: options that override the table's.
        output: folder for all runs.
        jobs: number of runs at a time.
        precision: see `foveal.settings.Hardware`.
        say: called with a line whenever a run is complete.
        keep: called with the outcomes so far whenever a run is complete.
    """
    # all rows of one seed before the next: an early look compares them fairly
    pairs = [(row, seed) for seed in seeds for row in table.rows]
    hardware = Hardware(precision=precision)
    trials = [_trial(table, scale, row, seed, settings, output, hardware) for row, seed in pairs]
    complete = [read_outcome(trial) for trial in trials]
    outcomes: dict[str, list[Outcome]] = {row.name: [] for row in table.rows}
    for (row, _), outcome in zip(pairs, complete, strict=True):
        if outcome is not None:
            outcomes[row.name].append(outcome)
    missing = [index for index, outcome in enumerate(complete) if outcome is None]
    done = len(trials) - len(missing)
    for index, outcome in run_trials([trials[index] for index in missing], jobs):
        row, seed = pairs[missing[index]]
        outcomes[row.name].append(outcome)
        done += 1
        say(f"{done} of {len(trials)}: {row.name}, seed {seed}: {_describe(outcome)}")
        keep(outcomes)
    return outcomes


def _check_known(table: PaperTable, scale: Scale, options: Mapping[str, Any]) -> None:
    names = table.recipes(scale)
    known = set().union(*(option_places(recipes.find(name)) for name in names))
    if unknown := sorted(set(options) - known):
        raise UserError(f"the recipe {names[0]} has no option {', '.join(unknown)}")


def _choose(table: PaperTable, names: Sequence[str]) -> tuple[TableRow, ...]:
    known = {row.name: row for row in table.rows}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no row {unknown[0]!r}: there are {'; '.join(known)}")
    return tuple(row for row in table.rows if not names or row.name in names)


def _trial(
    table: PaperTable,
    scale: Scale,
    row: TableRow,
    seed: int,
    override: Mapping[str, Any],
    output: Path,
    hardware: Hardware,
) -> Trial:
    size = table.sizes[scale]
    recipe = row.recipe or size.recipe
    known = option_places(recipes.find(recipe))
    own = {**row.options, **{name: value for name, value in override.items() if name in known}}
    shared = {name: value for name, value in size.options.items() if name in known}
    options = {**shared, **own, "seed": seed}
    if missing := recipes.required(recipe) - set(options):
        raise UserError(f"--{missing.pop()} must be given: the recipe {recipe} reads images")
    own.pop("data", None)
    path = output / recipe / (folder_name(own) or "defaults") / f"seed {seed}"
    return Trial(recipe, options, path, hardware)


def folder_name(options: Mapping[str, Any]) -> str:
    """A name for options that file systems take.

    >>> folder_name({"aggregator": "max", "view": (4, 5)})
    'aggregator max, view 4 5'
    """
    words = (f"{key} {value}" for key, value in sorted(options.items()))
    return ", ".join(re.sub(r"[^\w.-]+", " ", word).strip() for word in words)


def _describe(outcome: Outcome) -> str:
    minutes = f"({outcome.seconds / 60:.1f} min)"
    if outcome.accuracy is None:
        return f"failed: {outcome.failure} {minutes}"
    return f"{outcome.accuracy:.1%} {minutes}"


def _page(table: PaperTable, outcomes: Outcomes) -> str:
    return f"{table.title}\nPaper: {table.paper}.\n\n{format_table(table, outcomes)}\n"
