"""The figures of the benchmarks; every curve has its name at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from foveal.paper.benchmark.growth import Point

Points = Sequence[tuple[float, float]]

# Okabe and Ito's colours, which the colour-blind tell apart; dashes and markers say it again.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "linestyle": (0, (4, 2)), "zorder": 5},
    {"color": "#0072b2", "linestyle": "-", "marker": "o"},
    {"color": "#009e73", "linestyle": "-.", "marker": "^"},
    {"color": "#d55e00", "linestyle": "-", "marker": "s"},
    {"color": "#b0568a", "linestyle": "--", "marker": "D"},
)
_APART = 0.07  # two names, in heights of a panel


@dataclass(frozen=True)
class Panel:
    """What is drawn in one frame.

    Attributes:
        title: what is seen.
        along: what the horizontal axis is.
        curves: points by name, at most five, in the same order in every panel.
        singles: what a curve is the mean of, thin, by the same name.
        ticks: only where there are points, and a logarithmic axis.
    """

    title: str
    along: str
    curves: Mapping[str, Points]
    singles: Mapping[str, Sequence[Points]] = field(default_factory=dict)
    ticks: bool = False


def cosines(panels: Sequence[Panel]) -> Figure:
    """Panels two by two.

    Args:
        panels: with at least one curve.
    """
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(10.4, 3.5 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 10, "lines.linewidth": 1.6, "lines.markersize": 4}):
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, 2, place)
            _draw(axes, panel)
            if place % 2:
                axes.set_ylabel("cosine to the true gradient")
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    drawn = [*panel.curves.values(), *(one for each in panel.singles.values() for one in each)]
    lowest = min(y for points in drawn for _, y in points)
    axes.set_ylim(min(-0.03, lowest - 0.05), 1.05)
    if lowest < 0:
        axes.axhline(0, color="#5c6670", linewidth=0.8)
    for (name, points), style in zip(panel.curves.items(), STYLES, strict=False):
        for single in panel.singles.get(name, ()):
            axes.plot(*_across(single), color=style["color"], alpha=0.3, linewidth=0.6)
        axes.plot(*_across(points), **style)
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel(panel.along)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    if panel.ticks:
        ticks = sorted({x for points in panel.curves.values() for x, _ in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()
    _name_ends(axes, panel.curves)


def _across(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _name_ends(axes: Axes, curves: Mapping[str, Points]) -> None:
    """Names at the ends of the curves, moved apart where they would touch."""
    bottom, top = axes.get_ylim()
    ends = [(points[-1][1] - bottom) / (top - bottom) for points in curves.values()]
    order = sorted(range(len(ends)), key=lambda i: -ends[i])  # equal ones in the order given
    for i, height in zip(order, spread([ends[i] for i in order], _APART), strict=True):
        axes.annotate(
            list(curves)[i],
            (1.02, height),
            xycoords="axes fraction",
            color=STYLES[i]["color"],
            fontsize=9,
            va="center",
        )


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Falling heights moved so far apart, as little as needed, and none above 1.

    >>> spread([0.75, 0.75, 0.0], 0.5)
    [1.0, 0.5, 0.0]
    """
    blocks: list[list[float]] = []
    for height in heights:
        block = [height]
        while blocks and _placed(blocks[-1], apart)[-1] - _placed(block, apart)[0] < apart - 1e-9:
            block = blocks.pop() + block
        blocks.append(block)
    return [height for block in blocks for height in _placed(block, apart)]


def _placed(block: Sequence[float], apart: float) -> list[float]:
    half = apart * (len(block) - 1) / 2
    middle = min(sum(block) / len(block), 1 - half)
    return [middle + half - apart * i for i in range(len(block))]


COLOURS = ("#0072b2", "#56b4e9", "#999999")  # distinct to colour-blind readers, too


def costs(points: Sequence[Point]) -> Figure:
    """A column for everything that is varied, time above and memory below.

    Args:
        points: in the order of the variants' colours.
    """
    varied = list(dict.fromkeys(point.varied for point in points))
    figure = Figure(figsize=(3.1 * len(varied), 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False}):
        for column, name in enumerate(varied):
            own = [point for point in points if point.varied == name]
            for row, cost in enumerate(("seconds", "megabytes")):
                axes = figure.add_subplot(2, len(varied), 1 + column + row * len(varied))
                _draw_costs(axes, own, cost)
                axes.set_title(name if row == 0 else "", loc="left", fontsize=10)
                axes.set_ylabel(("seconds", "MB")[row] if column == 0 else "")
    return figure


def _draw_costs(axes: Axes, points: Sequence[Point], cost: str) -> None:
    variants = list(dict.fromkeys(point.variant for point in points))
    for variant in variants:
        shown = [(p.value, getattr(p, cost)) for p in points if p.variant == variant]
        shown = [(value, each) for value, each in shown if each]
        if not shown:
            continue
        x, y = zip(*shown, strict=True)
        colour = COLOURS[min(variants.index(variant), 2) if variant != variants[-1] else 2]
        axes.loglog(x, y, "o-", color=colour, markersize=3.5, linewidth=1.4)
        axes.annotate(
            variant.replace(", PyTorch only", ",\nPyTorch only"),
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


_APART_SPEEDS = 0.06  # two names, in heights of the panel


def speeds(curves: Mapping[str, Points]) -> Figure:
    """One panel; equal steps upwards are equal ratios of speed.

    Args:
        curves: (size in pixels, images a second) by name, at least one.
    """
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 9, "lines.linewidth": 1.6, "lines.markersize": 4}):
        axes = figure.add_subplot()
        for number, points in enumerate(curves.values()):
            axes.semilogy(*zip(*points, strict=True), **STYLES[number % len(STYLES)])
        axes.set_xticks(sorted({size for points in curves.values() for size, _ in points}))
        axes.set_xlabel("size of the image in px")
        axes.set_ylabel("images a second")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, axis="y")
        _name_speeds(axes, curves)
    return figure


def _name_speeds(axes: Axes, curves: Mapping[str, Points]) -> None:
    """Names beside the ends of the curves, moved apart where they would touch."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = {name: to_axes.transform(points[-1])[1] for name, points in curves.items()}
    order = sorted(ends, key=lambda name: -ends[name])
    heights = spread([ends[name] for name in order], _APART_SPEEDS)
    for name, height in zip(order, heights, strict=True):
        axes.annotate(
            name,
            (1.02, height),
            xycoords="axes fraction",
            color=STYLES[list(curves).index(name) % len(STYLES)]["color"],
            va="center",
        )
