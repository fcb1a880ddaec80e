"""Pictures of where a model looked, of how its training went, and of what its gradient is worth."""

from foveal.plots.cosines import Panel, cosines
from foveal.plots.costs import costs
from foveal.plots.curves import curves
from foveal.plots.explanation import explanation
from foveal.plots.heat import score_map

__all__ = ["Panel", "cosines", "costs", "curves", "explanation", "score_map"]
