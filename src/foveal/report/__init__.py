"""Output for people: pictures of a prediction, training curves, an HTML page, tables of results."""

from foveal.report.explanation_figure import explanation
from foveal.report.heat import score_map
from foveal.report.training_curves import plot_training

__all__ = ["explanation", "plot_training", "score_map"]
