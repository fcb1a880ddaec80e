"""Labelled images: what a data set is, and the data sets that foveal reads or wraps."""

from foveal.data.dataset import Dataset, Example, Splits, no_images
from foveal.data.wrapping import wrap

__all__ = ["Dataset", "Example", "Splits", "no_images", "wrap"]
