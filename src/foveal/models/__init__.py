"""Models: explicit wirings of scorer, selection, encoder and aggregator, one class each."""

from foveal.models.patch_classifier import PatchClassifier

__all__ = ["PatchClassifier"]
