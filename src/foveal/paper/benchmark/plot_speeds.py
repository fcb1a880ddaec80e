"""Images a second over the side of the image, every curve with its name at its end."""

from collections.abc import Mapping

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from foveal.paper.benchmark.plot_cosines import STYLES, Points, spread

_APART = 0.06  # two names, in heights of the panel


def speeds(curves: Mapping[str, Points]) -> Figure:
    """One panel; equal steps upwards are equal ratios of speed.

    Args:
        curves: (side in pixels, images a second) by name, at least one.
    """
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 9, "lines.linewidth": 1.6, "lines.markersize": 4}):
        axes = figure.add_subplot()
        for number, points in enumerate(curves.values()):
            axes.semilogy(*zip(*points, strict=True), **STYLES[number % len(STYLES)])
        axes.set_xticks(sorted({side for points in curves.values() for side, _ in points}))
        axes.set_xlabel("side of the image in px")
        axes.set_ylabel("images a second")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, axis="y")
        _name(axes, curves)
    return figure


def _name(axes: Axes, curves: Mapping[str, Points]) -> None:
    """Names beside the ends of the curves, moved apart where they would touch."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = {name: to_axes.transform(points[-1])[1] for name, points in curves.items()}
    order = sorted(ends, key=lambda name: -ends[name])
    heights = spread([ends[name] for name in order], _APART)
    for name, height in zip(order, heights, strict=True):
        axes.annotate(
            name,
            (1.02, height),
            xycoords="axes fraction",
            color=STYLES[list(curves).index(name) % len(STYLES)]["color"],
            va="center",
        )
