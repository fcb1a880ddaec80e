"""How many pixels an image may have: decoded whole, as many as half of the memory holds.

A file of a few kilobytes can hold a billion pixels. The environment variable FOVEAL_MAX_PIXELS sets
another limit.
"""

import os

from foveal._memory import memory
from foveal.images.refusals import ImageError

VARIABLE = "FOVEAL_MAX_PIXELS"
_BYTES = 10  # of a pixel while its file is decoded: Pillow's, ours, and what is on its way
_MOST = 2**30
_DIGITS = 18


def largest(*, whole: bool) -> int:
    """The limit in pixels.

    Args:
        whole: of what is decoded whole; else of what is read in parts for one view.

    Raises:
        ImageError: the environment variable is no number.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return min(_MOST, memory() // (2 * _BYTES)) if whole else _MOST
    if not given.isdecimal() or len(given) > _DIGITS or int(given) < 1:
        raise ImageError(f"the environment variable {VARIABLE} must be a number of pixels: {given}")
    return int(given)


def check_area(size: tuple[int, int], what: str, remedy: str, *, whole: bool) -> None:
    """Refuse what is larger than the limit.

    Args:
        size: height and width in pixels.
        what: of what it is the size, as in "files that must be decoded whole".
        remedy: besides another limit.
        whole: see `largest`.

    Raises:
        ImageError: one line with size, limit and remedy.
    """
    if size[0] * size[1] > (limit := largest(whole=whole)):
        cost = f"; decoded, a pixel takes about {_BYTES} bytes of memory" if whole else ""
        raise ImageError(
            f"{size[0]} x {size[1]} pixels exceed the limit of {limit} for {what}; {remedy}, or "
            f"raise the limit by the environment variable {VARIABLE}{cost}"
        )
