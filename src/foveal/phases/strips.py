"""Windows of an image as one image, one below the other: so a network learns on windows alone.

    strip (C, Q S, S): Q windows of side S, the best first, with a margin for augmentation

`Reader` classifies strips. A transform draws some windows of a strip at random and distorts each by
itself, so the training loop, its evaluation and its resumption work on strips as on any images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from foveal.data import Dataset, Example
from foveal.images import TensorImage
from foveal.windows import centres


class Strips:
    """A data set of strips of another data set's images, cut when first asked for and then kept.

    Args:
        images: the data set.
        windows: (Q, 4) of each of its images, the best first; all with the same Q.
        side: S, pixels of a window with its margins.
        memory: bytes of strips to keep.
    """

    def __init__(
        self,
        images: Dataset,
        windows: Sequence[Int[Tensor, "Q 4"]],
        *,
        side: int,
        memory: int = 2**30,
    ) -> None:
        self.images, self.windows, self.side = images, windows, side
        self.classes, self.labels = images.classes, images.labels
        self._free, self._kept = memory, dict[int, UInt8[Tensor, "C QS S"]]()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        example = self.images[index]
        grown = self._grown(self.windows[index])
        if index not in self._kept:
            strip = cut_strip(example, grown, self.side)
            if strip.nbytes > self._free:
                return self._example(example, strip, grown)
            self._kept[index] = strip
            self._free -= strip.nbytes
        return self._example(example, self._kept[index], grown)

    def _grown(self, windows: Int[Tensor, "Q 4"]) -> Int[Tensor, "Q 4"]:
        corner = (centres(windows) - self.side / 2).floor().long()
        return torch.cat((corner, corner + self.side), dim=1)

    def _example(
        self, example: Example, strip: UInt8[Tensor, "C QS S"], grown: Int[Tensor, "Q 4"]
    ) -> Example:
        boxes = None
        if example.boxes is not None:
            boxes = boxes_in_strip(example.boxes, grown)
        return Example(TensorImage(strip), example.label, example.file, boxes)


def cut_strip(example: Example, windows: Int[Tensor, "Q 4"], side: int) -> UInt8[Tensor, "C QS S"]:
    """Cut out windows, black outside the image, and put them one below the other."""
    crops = example.image.crops(windows, (side, side))
    stored = (crops * 255).round().to(torch.uint8)
    return stored.movedim(0, 1).flatten(1, 2).cpu()


def boxes_in_strip(boxes: Int[Tensor, "n 4"], windows: Int[Tensor, "Q 4"]) -> Int[Tensor, "m 4"]:
    """Where boxes of the image lie in the strip; what a window sees of them less than half is
    left out."""
    found = []
    for row, window in enumerate(windows):
        corner, side = window[:2].repeat(2), int(window[2] - window[0])
        moved = boxes - corner
        seen = moved.clamp(0, side)
        enough = 2 * _area(seen) >= _area(moved)
        found.append(seen[enough] + torch.tensor([row * side, 0, row * side, 0]))
    return torch.cat(found)


def _area(boxes: Int[Tensor, "n 4"]) -> Int[Tensor, " n"]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Transform of strips: draw some windows without replacement, and distort each by itself.

    The window of rank r (0 the best) is drawn with a probability that goes with 1 / (r + first).

    Attributes:
        count: number of windows.
        patch: side of the result's windows in pixels, at most that of the strip.
        shift: largest translation in pixels.
        scale: largest zoom, in or out.
        tilt: largest rotation in degrees.
        flip: mirror left and right.
        turn: turn by quarters, and mirror.
        colour: change contrast by 0.7 to 1.4, brightness by up to 0.15, and each channel by up to
            0.05 more.
        first: a small one prefers the best windows.
        among: draw from so many windows, the best; None: from all.
    """

    count: int
    patch: int
    shift: int
    scale: float = 1.25
    tilt: float = 10.0
    flip: bool = False
    turn: bool = False
    colour: bool = True
    first: float = 1.0
    among: int | None = None

    def __call__(self, strip: Tensor, generator: Generator) -> Float[Tensor, "C nP P"]:
        """Return the drawn windows as a strip."""
        windows = strip_windows(strip)[: self.among]
        share = 1 / (torch.arange(len(windows)) + self.first)
        count = min(self.count, len(windows))
        chosen = torch.multinomial(share, count, generator=generator).sort().values
        pixels = windows[chosen].float()
        if strip.dtype == torch.uint8:
            pixels = pixels / 255
        place = self._place(count, strip.shape[2], generator).to(pixels)
        size = [*pixels.shape[:2], self.patch, self.patch]
        grid = affine_grid(place, size, align_corners=False)
        pixels = grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        if self.colour:
            pixels = _coloured(pixels, generator)
        return pixels.movedim(0, 1).flatten(1, 2)

    def _place(self, count: int, side: int, generator: Generator) -> Float[Tensor, "n 2 3"]:
        """Affine maps from the result to windows of this side, in units of half a side."""
        angle = _even(count, generator) * math.radians(self.tilt)
        if self.turn:
            angle = angle + torch.randint(4, (count,), generator=generator) * (math.pi / 2)
        matrix = _rotation(angle) * (self.scale ** _even(count, generator))[:, None, None]
        if self.flip or self.turn:
            mirrored = torch.rand(count, generator=generator) < 0.5
            matrix[mirrored, :, 0] *= -1
        move = _even(2 * count, generator).view(count, 2, 1) * self.shift
        return torch.cat((matrix * self.patch, 2 * move), dim=2) / side


def _rotation(angle: Float[Tensor, " n"]) -> Float[Tensor, "n 2 2"]:
    sine, cosine = angle.sin(), angle.cos()
    return torch.stack((cosine, -sine, sine, cosine), dim=1).view(-1, 2, 2)


def _coloured(pixels: Float[Tensor, "n C P P"], generator: Generator) -> Float[Tensor, "n C P P"]:
    count, channels = pixels.shape[:2]
    contrast = 0.7 + 0.7 * torch.rand(count, 1, 1, 1, generator=generator)
    brightness = 0.15 * _even(count, generator).view(-1, 1, 1, 1)
    tint = 0.05 * _even(count * channels, generator).view(count, channels, 1, 1)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast, brightness, tint = (each.to(pixels) for each in (contrast, brightness, tint))
    return ((pixels - mean) * contrast + mean + brightness + tint).clamp(-0.5, 1.5)


def _even(count: int, generator: Generator) -> Float[Tensor, " n"]:
    """Even random numbers in [-1, 1)."""
    return 2 * torch.rand(count, generator=generator) - 1


def margin_of(patch: int) -> int:
    """Pixels on every side of a patch, for shifts and zooms.

    >>> margin_of(64)
    16
    """
    return round(patch / 4)


def strip_windows(strip: Tensor) -> Tensor:
    """The windows (Q, C, S, S) of a strip (C, Q S, S)."""
    channels, _, side = strip.shape
    return strip.reshape(channels, -1, side, side).movedim(1, 0)
