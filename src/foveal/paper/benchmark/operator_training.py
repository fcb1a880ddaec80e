"""Train with each operator at several softnesses, and with the one that validates best further."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal.paper.operators import OperatorName
from foveal.paper.operators.sharpness import softness_as
from foveal.paper.tables.definitions import TABLES, PaperTable, TableRow
from foveal.paper.tables.format_table import format_table
from foveal.paper.tables.run_table import train_rows
from foveal.paper.tables.trial import Outcome

_SIGMA, _CANDIDATES = 0.01, 64  # of billiards_mini


def train_operators(
    names: Sequence[OperatorName],
    softness: Sequence[float],
    seeds: int,
    output: Path,
    *,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> str:
    """Train the runs that do not exist yet.

    Args:
        names: of operators that can be run here.
        softness: what is tried, see `foveal.paper.benchmark.operators.operators`.
        seeds: number of runs of the chosen one.
        output: folder of the runs.
        steps: training steps per run; None: those of the table.
        settings: options of the recipe that override the table's.
        jobs: number of runs at a time.
        say: called with a line whenever a run is complete.

    Returns:
        The table of the chosen ones in Markdown.
    """
    table = replace(TABLES["estimators"], title="Training with each operator", paper="")
    options = dict(settings or {}) | ({} if steps is None else {"steps": steps})

    def train(rows: Sequence[TableRow], count: int) -> Mapping[str, Sequence[Outcome]]:
        return train_rows(
            replace(table, rows=tuple(rows)),
            scale="mini",
            seeds=range(count),
            settings=options,
            output=output,
            jobs=jobs,
            say=say,
        )

    tried = {name: _rows(table, name, softness) for name in names}
    first = train([row for rows in tried.values() for row in rows], 1)
    best = [max(rows, key=lambda row: _validated(first[row.name])) for rows in tried.values()]
    return format_table(replace(table, rows=tuple(best)), train(best, seeds))


def _rows(table: PaperTable, name: OperatorName, softness: Sequence[float]) -> list[TableRow]:
    """A row per softness, which has two digits."""
    k = table.sizes["mini"].options["k"]
    usual = softness_as(name, _SIGMA, _CANDIDATES, k)
    values = [float(f"{factor * usual:.2g}") for factor in softness]
    return [TableRow(f"{name}, softness {value:g}", _options(name, value)) for value in values]


def _options(name: OperatorName, softness: float) -> dict[str, Any]:
    if name == "sinkhorn":
        return {"select": "sinkhorn", "epsilon": softness}
    if name == "listing":  # the same estimate, without keeping all samples
        return {"estimator": "diagonal", "sigma": softness}
    return {"sigma": softness} if name == "exact" else {"select": name, "sigma": softness}


def _validated(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """The best validation accuracy, and of equals the mean of all: who learns sooner."""
    if not outcomes or outcomes[0].accuracy is None:
        return (-1.0, -1.0)
    values = [accuracy for _, accuracy in outcomes[0].curve]
    return (max(values), sum(values) / len(values)) if values else (0.0, 0.0)
