"""Operators that turn scores (B, N) into a `Selection` of K of the N candidates.

Scores have any float type, on any device. Every operator raises ``ValueError`` with the values for
k outside 1..N and for NaN or infinite scores.
"""

from foveal.topk.hard import hard
from foveal.topk.perturbed import perturbed
from foveal.topk.sampling import sample
from foveal.topk.selection import Selection
from foveal.topk.sinkhorn import sinkhorn

__all__ = ["Selection", "hard", "perturbed", "sample", "sinkhorn"]
