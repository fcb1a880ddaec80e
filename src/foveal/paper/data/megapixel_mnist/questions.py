"""The questions about the digits of a picture; the first one is the published one."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from foveal.data.labels import Label as AnyLabel

CLASSES: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@dataclass(frozen=True)
class Digit:
    """A digit of a picture.

    Attributes:
        value: 0 to 9.
        box: top, left, bottom, right in pixels, end excluded.
    """

    value: int
    box: tuple[int, int, int, int]


Label = Callable[[Sequence[Digit]], AnyLabel]


def majority(digits: Sequence[Digit]) -> int:
    """The digit that there is most of: the published task."""
    return Counter(digit.value for digit in digits).most_common(1)[0][0]


def largest(digits: Sequence[Digit]) -> int:
    """The largest digit."""
    return max(digit.value for digit in digits)


def uppermost(digits: Sequence[Digit]) -> int:
    """The digit nearest to the upper border."""
    return min(digits, key=lambda digit: digit.box[0]).value


def presence(digits: Sequence[Digit]) -> Bool[Tensor, " 10"]:
    """Which digits there are."""
    present = torch.zeros(len(CLASSES), dtype=torch.bool)
    present[[digit.value for digit in digits]] = True
    return present


TASKS: dict[str, Label] = {
    "majority": majority,
    "max": largest,
    "top": uppermost,
    "present": presence,
}
"""The questions that can be asked, by name."""
