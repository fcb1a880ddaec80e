"""Laws of settings: what cannot work is refused when it is written down."""

import math
import os
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
    [
        ("precision", "64"),
        ("accelerator", "tpu"),
        ("devices", 0),
        ("nodes", 0),
        ("workers", -1),
        ("memory", "2 apples"),
        ("memory", f"{'9' * 400}GB"),
        ("memory", ""),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_hardware_out_of_range_is_refused_with_the_value(name: str, value: Any):
    with pytest.raises(ValueError, match=f"{name} must be .*: got '?{value}"):
        Hardware(**{name: value})


@pytest.mark.parametrize("unit", ["", "B", "kB", "MB", "gb", "GiB", "T"])
def test_an_amount_of_memory_is_read_as_it_is_written(unit: str):
    power = "kmgt".find(unit[:1].lower()) + 1 if unit not in ("", "B") else 0
    base = 1024 if "i" in unit else 1000
    assert Hardware(memory=f"3{unit}").kept_bytes() == 3 * base**power
    assert Hardware(memory=f"2.5 {unit}").kept_bytes() == int(2.5 * base**power)


def test_without_an_amount_a_part_of_the_free_memory_is_taken():
    assert 0 < Hardware().kept_bytes() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.0, 0.0), (1.0, math.inf), (1.0, math.nan), ()])
def test_class_weights_that_cannot_weigh_are_refused(weights: tuple[float, ...]):
    with pytest.raises(ValueError, match="class_weights must be 0 or more, finite, and not all 0"):
        settings(class_weights=weights)
