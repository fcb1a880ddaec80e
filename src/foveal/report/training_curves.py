"""Training curves, drawn from the rows of metrics.csv."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


class _Panel(NamedTuple):
    """One plot: its title, the label of its y axis, and which columns belong to it."""

    title: str
    label: str
    shows: Callable[[str], bool]


_PANELS = (
    _Panel("Loss", "loss", lambda name: "loss" in name),
    _Panel(
        "Accuracy and hit rate",
        "share of images",
        lambda name: "accuracy" in name or name.endswith(("hit_rate", "hit_all_rate")),
    ),
    _Panel("Noise on the scores", "sigma", lambda name: name == "sigma"),
)


def plot_training(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Losses, accuracies with hit rates, and sigma, each in a panel, over the training step.

    Args:
        rows: rows of metrics.csv, values as numbers or texts; an empty text is a missing value. The
            column `step` is the x axis. Panels without a column are left out.

    Raises:
        ValueError: there is no column `step`, or no column to draw.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = [(panel, [name for name in names if panel.shows(name)]) for panel in _PANELS]
    panels = [(panel, columns) for panel, columns in panels if columns]
    if not panels or "step" not in names:
        raise ValueError(
            "training curves need a column step and a loss, accuracy, hit_rate or sigma: got the "
            f"columns {names}"
        )
    figure = Figure(figsize=(4.3 * len(panels), 3.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False}):
        for place, (panel, columns) in enumerate(panels, start=1):
            _draw(figure, (1, len(panels), place), panel, columns, rows)
    return figure


def _draw(
    figure: Figure,
    place: tuple[int, int, int],
    panel: _Panel,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
) -> None:
    axes = figure.add_subplot(*place)
    for name, style in zip(columns, ("-", "--", "-.", ":") * len(columns), strict=False):
        points = [(_number(row.get("step")), _number(row.get(name))) for row in rows]
        points = [point for point in points if all(map(math.isfinite, point))]
        marker = "o" if len(points) < 15 else None
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.plot(x, y, style, marker=marker, markersize=3, label=_label(name))
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel("training step")
    axes.set_ylabel(panel.label)
    axes.spines["right"].set_visible(False)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if panel.label == "share of images":
        axes.set_ylim(-0.02, 1.02)
    if len(columns) > 1:
        axes.legend(frameon=False, fontsize=8)


def _label(column: str) -> str:
    """The label of a curve, as in `validation hit rate, all boxes`."""
    name = column.replace("hit_all_rate", "hit_rate, all boxes").replace("_", " ")
    return name if name.startswith("validation ") else f"training {name}"


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
