"""Parts of models that have moved, or lost an argument, since runs were written that name them."""

from collections.abc import Mapping
from typing import Any

_NN, _PAPER = "foveal.nn", "foveal.paper.nn"
_MOVED = {
    f"{_NN}.aggregators.TablePosition": f"{_PAPER}.aggregators.TablePosition",
    f"{_NN}.encoders.ShallowNet": f"{_PAPER}.encoders.ShallowNet",
    f"{_NN}.encoders.WhatAndWhere": f"{_PAPER}.encoders.WhatAndWhere",
    f"{_NN}.layers.SqueezeExcitation": f"{_PAPER}.pyramid.SqueezeExcitation",
    f"{_NN}.random_selectors.Mixed": f"{_PAPER}.selectors.Mixed",
    f"{_NN}.random_selectors.Random": f"{_NN}.selectors.Random",
    f"{_NN}.scorers.TanhScorer": f"{_PAPER}.scorers.TanhScorer",
    f"{_NN}.selectors.Mixed": f"{_PAPER}.selectors.Mixed",
    "foveal.windows.cordonnier_grid": f"{_PAPER}.grids.cordonnier_grid",
    "foveal.windows.grids.cordonnier_grid": f"{_PAPER}.grids.cordonnier_grid",
}
# a switch that became a class of its own: the arguments that this class does not have
_SWITCHES = {
    f"{_NN}.aggregators.Transformer": (
        "dropout_in_evaluation",
        f"{_PAPER}.aggregators.PublishedTransformer",
        ("norm_first", "pool"),
    ),
    f"{_NN}.encoders.Backbone": ("bare_stem", f"{_PAPER}.encoders.BareStemResNet", ()),
}


def current(path: Any, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return today's name and arguments of a class or function that a run names.

    Args:
        path: dotted name in the run, today's or an earlier one.
        arguments: its arguments as the run has them.
    """
    arguments = dict(arguments)
    if not isinstance(path, str):
        return path, arguments
    if path == f"{_NN}.scorers.ConvScorer" and not arguments.get("excitation"):
        arguments.pop("excitation", None)  # was never stored as true
    if path in _SWITCHES:
        switch, other, absent = _SWITCHES[path]
        if arguments.pop(switch, False):
            return other, {name: each for name, each in arguments.items() if name not in absent}
    return _MOVED.get(path, path), arguments
