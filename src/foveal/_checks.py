"""Checks of settings: what is refused, and in which words."""

import math
from collections.abc import Iterable
from importlib.util import find_spec
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from foveal.errors import UserError


def check_choices(settings: Any) -> None:
    """Refuse a word that is none of those that its type lists.

    Raises:
        ValueError: names the setting, the choices and the value.
    """
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(kind) is UnionType and value is not None:  # X | None
            kind = get_args(kind)[0]
        choices = get_args(kind)
        if get_origin(kind) is Literal and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}: got {value!r}")


def check_least(settings: Any, names: Iterable[str], least: float) -> None:
    """Refuse values below the least, and NaN; what is not given is right.

    Raises:
        ValueError: names the setting and the value.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be {least} or more: got {value}")


def check_fraction(settings: Any, names: Iterable[str]) -> None:
    """Refuse values outside [0, 1).

    Raises:
        ValueError: names the setting and the value.
    """
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1): got {getattr(settings, name)}")


def check_size(name: str, size: tuple[int, int] | None) -> None:
    """Refuse a height or width below 1 pixel.

    Raises:
        ValueError: names the setting and the value.
    """
    if size is not None and min(size) < 1:
        raise ValueError(f"{name} must be 1 x 1 pixels or more: got {size[0]} x {size[1]}")


def check_class_weights(weights: tuple[float, ...] | None) -> None:
    """Refuse weights that are negative, not finite, or all zero.

    Raises:
        ValueError: names the weights.
    """
    if weights is None:
        return
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(
            "class_weights must be 0 or more, finite, and not all 0: got "
            f"{' '.join(map(str, weights))}"
        )


def check_logger(name: str | None) -> None:
    """Refuse a logger whose package, of the same name, is not installed.

    Raises:
        UserError: one line with the remedy.
    """
    if name is not None and find_spec(name) is None:
        raise UserError(
            f"--logger {name}: the package {name} is not installed: pip install 'foveal[{name}]'"
        )
