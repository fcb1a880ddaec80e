"""Pixels that show nothing: without data, or the plain background of a slide."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foveal.images.nodata import Colour

LIGHT, DARK = 220 / 255, 20 / 255
"""Background is at least so light in every channel, or at most so dark: glass, and scans of it."""

_SAME = 1.5 / 255  # largest difference of two equal colours: views are rounded to bytes


def shows_something(
    pixels: Float[Tensor, "C h w"], nodata: Colour | None, *, background: bool
) -> Bool[Tensor, "h w"]:
    """Find the pixels that show something.

    Args:
        pixels: in [0, 1].
        nodata: colour of pixels without data; None: all have data.
        background: whether very light and very dark pixels show nothing.
    """
    shown = torch.ones_like(pixels[0], dtype=torch.bool)
    if nodata is not None:
        shown &= ((pixels - pixels.new_tensor(nodata)[:, None, None]).abs() > _SAME).any(dim=0)
    if background:
        shown &= (pixels.amin(dim=0) < LIGHT) & (pixels.amax(dim=0) > DARK)
    return shown
