"""The parts a model is wired from: scorers, selectors, encoders, aggregators."""

from foveal.nn import aggregators, anchors, cross_attention, encoders, parts, scorers, selectors

__all__ = ["aggregators", "anchors", "cross_attention", "encoders", "parts", "scorers", "selectors"]
