"""The runs of a table in Markdown: the paper's number and ours, failures, cost."""

import statistics
from collections.abc import Mapping, Sequence

from foveal.paper.tables.definitions import PaperTable
from foveal.paper.tables.trial import Outcome

HEADER = (
    "",
    "paper",
    "mean ± std",
    "median ± MAD",
    "best",
    "all evidence covered",
    "runs",
    "no better than constant",
    "reached {goal}",
    "steps to {goal}",
    "minutes per run",
)


def format_table(table: PaperTable, outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """A table in Markdown, test accuracies in percent.

    Args:
        table: the table.
        outcomes: outcomes of the complete runs, by the name of the row.
    """
    goal = f"{table.goal:.0%}"
    lines = [tuple(cell.format(goal=goal) for cell in HEADER), ("---",) * len(HEADER)]
    for row in table.rows:
        if runs := outcomes.get(row.name):
            lines.append((row.name, row.paper, *_cells(runs, table.goal)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(runs: Sequence[Outcome], goal: float) -> tuple[str, ...]:
    accuracies = [100 * run.accuracy for run in runs if run.accuracy is not None]
    hits = [100 * run.hits for run in runs if run.hits is not None]
    reached = [step for run in runs if (step := run.steps_to(goal)) is not None]
    return (
        _mean(accuracies),
        _median(accuracies),
        f"{max(accuracies):.1f}" if accuracies else "",
        f"{statistics.median(hits):.1f}" if hits else "",
        str(len(runs)),
        str(sum(not run.learned for run in runs)),
        str(len(reached)),
        f"{statistics.median(reached):.0f}" if reached else "",
        f"{statistics.median(run.seconds for run in runs) / 60:.1f}",
    )


def _mean(values: Sequence[float]) -> str:
    """Mean and sample deviation.

    >>> _mean([90.0, 92.0, 94.0])
    '92.0 ± 2.0'
    """
    if not values:
        return ""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


def _median(values: Sequence[float]) -> str:
    """Median, and median of the distances to it.

    >>> _median([90.0, 92.0, 99.0])
    '92.0 ± 2.0'
    """
    if not values:
        return ""
    middle = statistics.median(values)
    return f"{middle:.1f} ± {statistics.median(abs(value - middle) for value in values):.1f}"
