"""Training curves, drawn from the rows of metrics.csv."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
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


_Rows = Sequence[Mapping[str, object]]


class _Part(NamedTuple):
    """A phase of a training: its name, its rows, and where each lies on the x axis."""

    name: str
    rows: _Rows
    x: list[float]


def plot_training(rows: _Rows, reading: _Rows = ()) -> Figure:
    """Losses, accuracies with hit rates, and sigma, each in a panel, over the training step.

    With two phases, over the minutes of both.

    Args:
        rows: rows of metrics.csv, values as numbers or texts; an empty text is a missing value. The
            column `step` is the x axis, or `seconds`. Panels without a column are left out.
        reading: rows of the phase before, which reads proposed windows.

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
    parts = _parts(rows, reading)
    figure = Figure(figsize=(4.3 * len(panels), 3.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False}):
        for place, (panel, columns) in enumerate(panels, start=1):
            _draw(figure, (1, len(panels), place), panel, columns, parts)
    return figure


def _parts(rows: _Rows, reading: _Rows) -> list[_Part]:
    if not reading:
        return [_Part("", rows, [_number(row.get("step")) for row in rows])]
    before, after = ([_number(row.get("seconds")) / 60 for row in part] for part in (reading, rows))
    return [_Part("read", reading, before), _Part("look", rows, [before[-1] + x for x in after])]


def _draw(
    figure: Figure,
    place: tuple[int, int, int],
    panel: _Panel,
    columns: Sequence[str],
    parts: Sequence[_Part],
) -> None:
    axes = figure.add_subplot(*place)
    styles = ("-", "--", "-.", ":") * len(columns)
    for number, (name, style) in enumerate(zip(columns, styles, strict=False)):
        for part in parts:
            values = [_number(row.get(name)) for row in part.rows]
            points = [p for p in zip(part.x, values, strict=True) if all(map(math.isfinite, p))]
            marker = "o" if len(points) < 15 else None
            label = _label(name) if part is parts[0] else None
            x, y = zip(*points, strict=True) if points else ((), ())
            axes.plot(x, y, style, color=f"C{number}", marker=marker, markersize=3, label=label)
    _name_parts(axes, parts)
    axes.set_title(panel.title, loc="left", fontsize=11, pad=6 if len(parts) == 1 else 16)
    axes.set_xlabel("training step" if len(parts) == 1 else "minutes")
    axes.set_ylabel(panel.label)
    axes.spines["right"].set_visible(False)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=len(parts) == 1))
    if panel.label == "share of images":
        axes.set_ylim(-0.02, 1.02)
    if len(columns) > 1:
        axes.legend(frameon=False, fontsize=8)


def _name_parts(axes: Axes, parts: Sequence[_Part]) -> None:
    """A line between two phases, and their names above it; all panels show both."""
    for part in parts[1:]:
        axes.set_xlim(0, part.x[-1] * 1.02 if part.x else None)
        border = parts[0].x[-1]
        axes.axvline(border, color="0.5", linewidth=1)
        for name, side in ((f"{parts[0].name} ", "right"), (f" {part.name}", "left")):
            axes.annotate(
                name,
                (border, 1),
                xycoords=("data", "axes fraction"),
                ha=side,
                va="bottom",
                fontsize=8,
                color="0.35",
            )


def _label(column: str) -> str:
    """The label of a curve, as in `validation hit rate, all boxes`."""
    name = column.replace("hit_all_rate", "hit_rate, all boxes").replace("_", " ")
    return name if name.startswith("validation ") else f"training {name}"


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
