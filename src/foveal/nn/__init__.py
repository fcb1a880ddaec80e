"""The parts a model is wired from: scorers, selectors, encoders, aggregators."""

from foveal.nn import aggregators, encoders, scorers, selectors

__all__ = ["aggregators", "encoders", "scorers", "selectors"]
