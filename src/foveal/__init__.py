"""foveal: recognise things in large images when the answer sits in a few small places.

A scorer ranks the windows of a large image on a small view, a differentiable Top-K picks K of them,
an encoder sees these at full resolution, an aggregator combines them. Training needs image labels
only. Names are imported when first used, so that `import foveal` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal import (
        data,
        evaluation,
        images,
        models,
        nn,
        patches,
        proposals,
        report,
        runs,
        schedules,
        settings,
        topk,
        training,
        windows,
    )
    from foveal.planning.train import train
    from foveal.prediction import Prediction
    from foveal.runs import load

__all__ = [
    "Prediction",
    "__version__",
    "data",
    "evaluation",
    "images",
    "load",
    "models",
    "nn",
    "patches",
    "proposals",
    "report",
    "runs",
    "schedules",
    "settings",
    "topk",
    "train",
    "training",
    "windows",
]

__version__ = "0.2.0"

_HOMES = {
    "Prediction": "foveal.prediction",
    "load": "foveal.runs",
    "train": "foveal.planning.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"foveal.{name}")
    raise AttributeError(f"module 'foveal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
