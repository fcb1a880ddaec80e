"""Laws of settings: what cannot work is refused when it is written down."""

import math
from typing import Any

import pytest

from foveal.settings import Hardware
from miniatures import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("optimiser", "adam"),
        ("schedule", "step"),
        ("sigma_schedule", "multi_step"),
        ("warm_up", 1.0),
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("weight_decay", math.nan),
        ("clip_norm", 0.0),
        ("accumulate", 99),
        ("seed", -1),
        ("shift", -1),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_out_of_range_are_refused_with_the_value(name: str, value: Any):
    with pytest.raises(ValueError, match=f"{name}.*{value}|{value}.*{name}"):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", "64"), ("accelerator", "tpu"), ("devices", 0), ("nodes", 0), ("workers", -1)],
)
@pytest.mark.usefixtures("unchecked")
def test_hardware_out_of_range_is_refused_with_the_value(name: str, value: Any):
    with pytest.raises(ValueError, match=f"{name} must be .*: got '?{value}"):
        Hardware(**{name: value})


@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.0, 0.0), (1.0, math.inf), (1.0, math.nan), ()])
def test_class_weights_that_cannot_weigh_are_refused(weights: tuple[float, ...]):
    with pytest.raises(ValueError, match="class_weights must be 0 or more, finite, and not all 0"):
        settings(class_weights=weights)
