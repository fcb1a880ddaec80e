"""Pictures of where a model looked, how it trained, what it costs, and what a gradient is worth."""

from foveal.plots.cosines import Panel, cosines
from foveal.plots.costs import costs
from foveal.plots.curves import curves
from foveal.plots.explanation import explanation
from foveal.plots.heat import score_map
from foveal.plots.speeds import speeds

__all__ = ["Panel", "cosines", "costs", "curves", "explanation", "score_map", "speeds"]
