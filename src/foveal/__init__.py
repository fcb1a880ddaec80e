"""foveal: recognise things in large images when the answer sits in a few small places.

A cheap glance over all of the image, then K close looks where it matters; trained end to end from
image labels alone. Names are imported when first used, so that `import foveal` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal import images, models, nn, patches, schedules, topk, windows
    from foveal.prediction import Prediction
    from foveal.runs.run import load

__all__ = [
    "Prediction",
    "__version__",
    "images",
    "load",
    "models",
    "nn",
    "patches",
    "schedules",
    "topk",
    "windows",
]

__version__ = "0.1.0"

_HOMES = {"Prediction": "foveal.prediction", "load": "foveal.runs.run"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"foveal.{name}")
    raise AttributeError(f"module 'foveal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
