"""The parts a model is wired from: scorers, normalisations, selectors, encoders, aggregators."""

from foveal.nn import (
    aggregators,
    anchors,
    cross_attention,
    dropout,
    encoders,
    glance,
    normalisations,
    parts,
    scorers,
    selectors,
)

__all__ = [
    "aggregators",
    "anchors",
    "cross_attention",
    "dropout",
    "encoders",
    "glance",
    "normalisations",
    "parts",
    "scorers",
    "selectors",
]
