"""Parts of an image shown smaller, and an image as a whole that is: from as few pixels as suffice.

Of a large file with a pyramid, the level is read that shows the part large enough.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Glanceable, Image, nodata_of
from foveal.images.nodata import Colour
from foveal.images.orientation import Window


def glance(image: Image, window: Window, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
    """A window of any image, zero outside it, resampled to `size`."""
    if isinstance(image, Glanceable):
        return image.glance(window, size)
    return image.crops(torch.tensor([window]), size)[0]


@dataclass(frozen=True)
class ReducedImage:
    """An image at 1/2, 1/4, 1/8 ... of its size.

    Attributes:
        source: the image at full size.
        halvings: of its sides; the pixels that are left over at the bottom and right are cut off.
    """

    source: Image
    halvings: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, after reduction."""
        return reduced_size(self.source.size, self.halvings)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.source.channels

    def nodata(self) -> Colour | None:
        """The colour of pixels without data."""
        return nodata_of(self.source)

    def view(self, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """Resample the whole image, antialiased, to exactly `size`."""
        return self.glance((0, 0, *self.size), size)

    def glance(self, window: Window, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """A window of the reduced image, zero outside the source, resampled to `size`."""
        top, left, bottom, right = (place << self.halvings for place in window)
        return glance(self.source, (top, left, bottom, right), size)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M C h w"]:
        """Cut out windows of the reduced image, each resampled to `size`."""
        found = [self.glance((a, b, c, d), size) for a, b, c, d in windows.tolist()]
        return torch.stack(found) if found else torch.zeros(0, self.channels, *size)


def reduced_size(size: tuple[int, int], halvings: int) -> tuple[int, int]:
    """Height and width after so many halvings, at least 1."""
    return max(1, size[0] >> halvings), max(1, size[1] >> halvings)
