"""The report: pictures of where a model looked, training curves, one HTML page, result tables."""

from foveal.report.heat import score_map
from foveal.report.look_figure import explanation
from foveal.report.training_curves import curves

__all__ = ["curves", "explanation", "score_map"]
