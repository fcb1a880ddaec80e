"""The EXIF orientation, 1 to 8: how stored pixels are turned to stand upright.

A picture is upright after its stored rows and columns are swapped (5 to 8) and then mirrored.
"""

from jaxtyping import Shaped
from torch import Tensor

Window = tuple[int, int, int, int]  # top left bottom right, end excluded

_ROWS_MIRRORED, _COLUMNS_MIRRORED = (3, 4, 7, 8), (2, 3, 6, 7)


def swaps_sides(orientation: int) -> bool:
    """Whether the stored height is the upright width."""
    return 5 <= orientation <= 8


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The upright (height, width) of a stored one, or the reverse."""
    return (size[1], size[0]) if swaps_sides(orientation) else size


def turned_upright(
    pixels: Shaped[Tensor, "C H W"], orientation: int
) -> Shaped[Tensor, "C H_upright W_upright"]:
    """Stored pixels, upright."""
    if swaps_sides(orientation):
        pixels = pixels.transpose(1, 2)
    mirrored = [1] * (orientation in _ROWS_MIRRORED) + [2] * (orientation in _COLUMNS_MIRRORED)
    return pixels.flip(mirrored) if mirrored else pixels


def stored_window(window: Window, upright: tuple[int, int], orientation: int) -> Window:
    """Where the pixels of an upright window are stored, given the upright size."""
    top, left, bottom, right = window
    if orientation in _ROWS_MIRRORED:
        top, bottom = upright[0] - bottom, upright[0] - top
    if orientation in _COLUMNS_MIRRORED:
        left, right = upright[1] - right, upright[1] - left
    return (left, top, right, bottom) if swaps_sides(orientation) else (top, left, bottom, right)
