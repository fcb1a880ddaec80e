"""A run: the folder of a training, and the trained model that is loaded from it."""

from foveal.runs.folder import RunFolder
from foveal.runs.run import Run, load

__all__ = ["Run", "RunFolder", "load"]
