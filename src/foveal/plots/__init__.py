"""Pictures of where a model looked, and of how its training went."""

from foveal.plots.costs import costs
from foveal.plots.curves import curves
from foveal.plots.explanation import explanation
from foveal.plots.heat import score_map

__all__ = ["costs", "curves", "explanation", "score_map"]
