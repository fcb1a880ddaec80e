"""What a cross-validation came to: the figures of each fold, their mean and their spread."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "hit_rate": "hit rate",
    "chance_hit_rate": "by chance",
    "baseline_balanced_accuracy": "baseline, balanced",
}
"""What is compared over folds, and the heading of its column."""

_ROWS = {"mean": "mean", "deviation": "standard deviation", "lowest": "lowest"}


def summarise_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and spread over folds, ready for JSON.

    Args:
        folds: the figures of each fold in order, `Report.summary()` or more; a figure that is
            missing or None counts nowhere.

    Returns:
        `folds` as given, `n`, the number of images in all, and for every figure of `FIGURES` that
        some fold has its `mean`, `deviation` (standard deviation with n - 1; None for a single
        fold) and `lowest`.

    >>> summarise_folds([{"n": 3, "accuracy": 0.5}, {"n": 3, "accuracy": 1.0}])["accuracy"]
    {'mean': 0.75, 'deviation': 0.3535533905932738, 'lowest': 0.5}
    """
    summary: dict[str, Any] = {"n": sum(fold["n"] for fold in folds)}
    for name in FIGURES:
        values = [fold[name] for fold in folds if fold.get(name) is not None]
        if values:
            summary[name] = {
                "mean": statistics.fmean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "lowest": min(values),
            }
    return summary | {"folds": [dict(fold) for fold in folds]}


def format_folds(summary: Mapping[str, Any]) -> str:
    """A Markdown table, aligned for the terminal too.

    Args:
        summary: see `summarise_folds`.
    """
    known = [name for name in FIGURES if name in summary]
    rows = [["fold", "images", *(FIGURES[name] for name in known)]]
    for number, fold in enumerate(summary["folds"]):
        rows.append([str(number), str(fold["n"]), *(_percent(fold.get(n)) for n in known)])
    for key, title in _ROWS.items():
        rows.append([title, "", *(_percent(summary[name][key]) for name in known)])
    rows[-3][1] = str(summary["n"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(rule, widths), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
