"""Field tasks: real and painted images as ordinary data sets, with boxes to check the windows by.

A task is a function `task(**options) -> Iterator[Picture]`: labels, splits and boxes follow from
the options alone. `write` makes a folder of them that `foveal train` reads. Importing this does
not import torch.
"""

from collections.abc import Callable, Iterator

from foveal.field.boards import boards
from foveal.field.painted import balls, digits, digits_multi
from foveal.field.pictures import Picture, write
from foveal.field.screws import screws
from foveal.field.street import street_limit, street_prohibitory

__all__ = ["TASKS", "Picture", "write"]

TASKS: dict[str, Callable[..., Iterator[Picture]]] = {
    "street-prohibitory": street_prohibitory,
    "street-limit": street_limit,
    "boards": boards,
    "screws": screws,
    "digits": digits,
    "digits-multi": digits_multi,
    "balls": balls,
}
"""The tasks by name."""
