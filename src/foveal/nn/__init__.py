"""Parts of models: scorers, normalisations, selectors, encoders, aggregators."""

from foveal.nn import (
    aggregators,
    cross_attention,
    encoders,
    global_head,
    layers,
    normalisations,
    protocols,
    scorers,
    selectors,
)

__all__ = [
    "aggregators",
    "cross_attention",
    "encoders",
    "global_head",
    "layers",
    "normalisations",
    "protocols",
    "scorers",
    "selectors",
]
