"""The parts a model is wired from: scorers, selectors, encoders, aggregators."""

from foveal.nn import aggregators, encoders, parts, scorers, selectors

__all__ = ["aggregators", "encoders", "parts", "scorers", "selectors"]
