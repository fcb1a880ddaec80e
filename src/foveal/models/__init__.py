"""Models: explicit wirings of scorer, selection, encoder and aggregator, one class each."""

from foveal.models.attention_sampling import AttentionSampling
from foveal.models.iterative_patch_selection import IterativePatchSelection
from foveal.models.patch_classifier import PatchClassifier
from foveal.models.whole_image import WholeImage

__all__ = [
    "AttentionSampling",
    "IterativePatchSelection",
    "PatchClassifier",
    "WholeImage",
]
