"""An image changed at random when it is looked at: no copy but of what a view or a crop shows.

source  ->  moved, zeros come in  ->  colour a x + b  ->  transposed and mirrored
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Glanceable, Image, TensorImage, nodata_of
from foveal.images.nodata import Colour
from foveal.images.orientation import Window
from foveal.images.resampling import resampled_crops


class Tone(NamedTuple):
    """From stored numbers to pixels: x -> scale x + offset, at least low and at most high."""

    scale: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, pixels: Tensor) -> Tensor:
        """Apply to pixels of floating point."""
        pixels = pixels * self.scale + self.offset
        return pixels if self.low == -self.high == -math.inf else pixels.clamp(self.low, self.high)

    @property
    def of_zero(self) -> float:
        """What zero becomes."""
        return min(max(self.offset, self.low), self.high)


@dataclass(frozen=True)
class AugmentedImage:
    """An `Image` that is moved, then coloured, then transposed, then mirrored.

    What moves beyond the border is lost, as if the image had been copied: a window that crosses the
    border sees zeros there. Colours are clipped to [0, 1] unless the source is a tensor of floats.

    Attributes:
        source: the image as it is stored.
        shift: pixels down and right.
        colour: a and b of a x + b, for pixels in [0, 1].
        transpose: exchange rows and columns.
        flips: axes to mirror after that: -2 upside down, -1 left and right.
    """

    source: Image
    shift: tuple[int, int] = (0, 0)
    colour: tuple[float, float] = (1.0, 0.0)
    transpose: bool = False
    flips: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._untransposed(self.source.size)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.source.channels

    @property
    def tone(self) -> Tone:
        """The colour, for pixels in [0, 1]."""
        source = self.source
        floats = isinstance(source, TensorImage) and source.pixels.is_floating_point()
        return Tone(*self.colour) if floats else Tone(*self.colour, 0.0, 1.0)

    def nodata(self) -> Colour | None:
        """The colour of pixels without data, as it is coloured."""
        colour = nodata_of(self.source)
        return None if colour is None else tuple(self.tone(torch.tensor(colour)).tolist())

    def to(self, device: torch.device) -> "AugmentedImage":
        """Return the same image with its pixels on a device, if they are a tensor."""
        if not isinstance(self.source, TensorImage):
            return self
        return replace(self, source=self.source.to(device))

    def pin_memory(self) -> "AugmentedImage":
        """Return the same image with its pixels in memory that a GPU copies from by itself."""
        if not isinstance(self.source, TensorImage):
            return self
        return replace(self, source=self.source.pin_memory())

    def view(self, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """Resample the whole image, antialiased, to exactly `size`; colours come after that.

        Equals the view of a changed copy, but for the rounding of uint8 and for colours that are
        clipped: here their means are, there what they are the means of.
        """
        whole = torch.tensor([[0, 0, *self.size]])
        if self.shift == (0, 0):
            found = self.source.view(self._untransposed(size))
        elif isinstance(self.source, Glanceable):
            found = self._glanced(whole, size)
        else:
            return self.crops(whole, size)[0]
        seen: Tensor = self.tone(self.oriented(found))
        return seen

    def glance(self, window: Window, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """A window, zero outside the image, resampled to `size` from as few pixels as suffice."""
        windows = torch.tensor([window])
        if not isinstance(self.source, Glanceable):
            return self.crops(windows, size)[0]
        return self._changed(self._glanced(windows, size)[None], windows, size)[0]

    def _glanced(
        self, windows: Int[Tensor, "1 4"], size: tuple[int, int]
    ) -> Float[Tensor, "C h w"]:
        """What the source shows of a window, small."""
        assert isinstance(self.source, Glanceable)
        top, left, bottom, right = self.in_source(windows)[0].tolist()
        return self.source.glance((top, left, bottom, right), self._untransposed(size))

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M C h w"]:
        """Cut out windows, zero outside the image, each resampled to `size` if it differs."""
        found = self.source.crops(self.in_source(windows), self._untransposed(size))
        return self._changed(found, windows, size)

    def _changed(
        self, found: Float[Tensor, "M C _h _w"], windows: Int[Tensor, "M 4"], size: tuple[int, int]
    ) -> Float[Tensor, "M C h w"]:
        """What the source shows of windows, oriented and coloured as far as it lies inside."""
        scale, offset, low, high = self.tone
        inside = self._inside(windows, size)
        if isinstance(inside, Tensor):
            inside = inside.to(found)  # (M, 1, h, w)
        return (self.oriented(found) * inside * scale + offset * inside).clamp(low, high)

    def _inside(
        self, windows: Int[Tensor, "M 4"], size: tuple[int, int]
    ) -> Float[Tensor, "M 1 h w"] | float:
        """The part of each pixel of the crops that lies in the image; 1 if all do."""
        end = windows.new_tensor(self.size)
        beyond = (windows[:, :2] < 0).any(dim=1) | (windows[:, 2:] > end).any(dim=1)
        if not beyond.any():
            return 1.0
        inside = torch.ones(len(windows), 1, *size)
        inside[beyond] = resampled_crops(
            torch.ones(()).expand(1, *self.size), windows[beyond], size
        )
        return inside

    def in_source(self, windows: Int[Tensor, "*M 4"]) -> Int[Tensor, "*M 4"]:
        """Where windows of this image lie in the source, and beyond it."""
        ends = {-2: windows[..., 0::2], -1: windows[..., 1::2]}  # from and to, of each axis
        for axis in self.flips:
            ends[axis] = self.size[axis] - ends[axis].flip(-1)
        rows, columns = (ends[-1], ends[-2]) if self.transpose else (ends[-2], ends[-1])
        down, right = self.shift
        return torch.stack((rows - down, columns - right), dim=-1).flatten(-2)

    def oriented(self, pixels: Float[Tensor, "*n H W"]) -> Float[Tensor, "*n h w"]:
        """Transpose and mirror what was read from the source."""
        pixels = pixels.mT if self.transpose else pixels
        return pixels.flip(self.flips) if self.flips else pixels

    def reoriented(self, pixels: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n H W"]:
        """The inverse of `oriented`."""
        pixels = pixels.flip(self.flips) if self.flips else pixels
        return pixels.mT if self.transpose else pixels

    def _untransposed(self, size: tuple[int, int]) -> tuple[int, int]:
        return (size[1], size[0]) if self.transpose else size
