"""Models: one class per way to connect scorer, selector, encoder and aggregator."""

from foveal.models.attention_sampling import AttentionSampling
from foveal.models.classifier import PatchClassifier
from foveal.models.factory import patch_classifier
from foveal.models.iterative_patch_selection import IterativePatchSelection
from foveal.models.whole_image import WholeImage

__all__ = [
    "AttentionSampling",
    "IterativePatchSelection",
    "PatchClassifier",
    "WholeImage",
    "patch_classifier",
]
