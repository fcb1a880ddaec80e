"""Time and memory of several sides over what is varied, on logarithmic axes."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from foveal.paper.benchmark.growth import Point

COLOURS = ("#0072b2", "#56b4e9", "#999999")  # told apart by the colour-blind, too


def costs(points: Sequence[Point]) -> Figure:
    """A column for everything that is varied, time above and memory below.

    Args:
        points: in the order of the sides' colours.
    """
    varied = list(dict.fromkeys(point.varied for point in points))
    figure = Figure(figsize=(3.1 * len(varied), 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False}):
        for column, name in enumerate(varied):
            own = [point for point in points if point.varied == name]
            for row, cost in enumerate(("seconds", "megabytes")):
                axes = figure.add_subplot(2, len(varied), 1 + column + row * len(varied))
                _panel(axes, own, cost)
                axes.set_title(name if row == 0 else "", loc="left", fontsize=10)
                axes.set_ylabel(("seconds", "MB")[row] if column == 0 else "")
    return figure


def _panel(axes: Axes, points: Sequence[Point], cost: str) -> None:
    sides = list(dict.fromkeys(point.side for point in points))
    for side in sides:
        shown = [(p.value, getattr(p, cost)) for p in points if p.side == side]
        shown = [(value, each) for value, each in shown if each]
        if not shown:
            continue
        x, y = zip(*shown, strict=True)
        colour = COLOURS[min(sides.index(side), 2) if side != sides[-1] else 2]
        axes.loglog(x, y, "o-", color=colour, markersize=3.5, linewidth=1.4)
        axes.annotate(
            side.replace(", PyTorch only", ",\nPyTorch only"),
            (x[-1], y[-1]),
            (4, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
        )
    axes.spines["right"].set_visible(False)
    axes.margins(x=0.3)
    axes.grid(alpha=0.25)
