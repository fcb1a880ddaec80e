"""How a training went: curves from the rows of metrics.csv."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def curves(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Training curves: losses, shares (accuracies, hit rates) and sigma, each in a panel.

    Args:
        rows: of metrics.csv, numbers or their texts; an empty text is a missing value. The axis is
            the column `epoch` where there is one. Panels without a column are left out.

    Raises:
        ValueError: no row, or no column to draw.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = {
        "loss": [name for name in names if "loss" in name],
        "share of images": [n for n in names if "accuracy" in n or n.endswith("hit_rate")],
        "sigma": [name for name in names if name == "sigma"],
    }
    panels = {title: columns for title, columns in panels.items() if columns}
    if not panels:
        raise ValueError(
            f"curves need rows with a loss, accuracy, hit_rate or sigma: got the columns {names}"
        )
    figure = Figure(figsize=(4.3 * len(panels), 3.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False}):
        for place, (title, columns) in enumerate(panels.items(), start=1):
            _panel(figure, (1, len(panels), place), title, columns, rows)
    return figure


def _panel(
    figure: Figure,
    place: tuple[int, int, int],
    title: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
) -> None:
    axes = figure.add_subplot(*place)
    for name, style in zip(columns, ("-", "--", "-.", ":") * len(columns), strict=False):
        points = [
            (_number(row.get("epoch", i)), _number(row.get(name))) for i, row in enumerate(rows)
        ]
        points = [point for point in points if all(map(math.isfinite, point))]
        marker = "o" if len(points) < 15 else None
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.plot(x, y, style, marker=marker, markersize=3, label=name.replace("_", " "))
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("epoch" if any("epoch" in row for row in rows) else "row")
    axes.spines["right"].set_visible(False)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if title == "share of images":
        axes.set_ylim(-0.02, 1.02)
    if len(columns) > 1:
        axes.legend(frameon=False, fontsize=9)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
