"""Frozen early features of a full-size image, computed piece by piece with bounded memory.

An image (C, H, W) becomes a map (D, h, w) with a cell every `stride` pixels. A piece is read with
as many pixels around it as its cells depend on, so its features are those of the whole image. Very
large images can be seen smaller, at 1/2, 1/4 ... of their size, see `Trunk.reduced`.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from foveal._precision import rounding, widened
from foveal.errors import UserError
from foveal.images import Image, nodata_of
from foveal.images.emptiness import shows_something
from foveal.images.reduced import ReducedImage, reduced_size
from foveal.nn.backbones import IMAGENET_MEAN, IMAGENET_STD
from foveal.nn.receptive_field import LARGE, receptive_field
from foveal.settings import Mask, Precision

Cells = tuple[int, int, int, int]
"""Rows and columns of a map: top, left, bottom, right, the ends excluded."""


class Piece(NamedTuple):
    """Features of a part of an image.

    Attributes:
        features: (D, h, w), of the core and of up to `margin` cells around it.
        top: row of the first cell in the map of the whole image.
        left: column of the first cell.
        core: rows and columns of `features` that belong to no other piece.
        empty: which cells show nothing in any of their pixels; None: not one, or nobody asks.
    """

    features: Float[Tensor, "D h w"]
    top: int
    left: int
    core: tuple[slice, slice]
    empty: Bool[Tensor, "h w"] | None = None

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the core in the map of the whole image."""
        rows, columns = self.core
        return (
            slice(self.top + rows.start, self.top + rows.stop),
            slice(self.left + columns.start, self.left + columns.stop),
        )


class Trunk(nn.Module):
    """A frozen network that maps images of any size to features, always in evaluation mode.

    Stride, number of features and receptive field are measured, not asked for. Networks that look
    at the whole image in every cell (squeeze-excitation, attention) are run in one piece: their
    memory grows with the image.

    Attributes:
        stride: pixels of an image from cell to cell.
        offset: where cell 0 is centred, in pixels of an image.
        features: D.
        reach: pixels of the image as it is seen that a cell depends on; None: all.
        halvings: of the sides of an image before it is seen.
        mask: which cells show nothing, see `Trunk.masked`.
        precision: that the network computes with, see `Trunk.rounded`.

    Args:
        network: standardised images (B, C, H, W) -> (B, D, h, w), or a sequence that ends with it.
            It is copied.
        mean: of the pixels that the weights were made for, per channel, in [0, 1].
        deviation: of the same pixels.
        pixels: the most pixels of an image in one piece, unless the receptive field asks for more.

    Raises:
        ValueError: the network gives no feature maps.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_STD,
        pixels: int = LARGE,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.channels, self.pixels = len(mean), pixels
        device = next(network.parameters(), torch.empty(0)).device
        self.register_buffer("mean", torch.tensor(mean, device=device)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation, device=device)[:, None, None])
        self.halvings = 0
        self.mask: Mask = "none"
        self.precision: Precision = "32-true"  # to be measured
        self.features, self._cell = self._shape()
        self._offset, self.reach = receptive_field(self._maps, self._cell, self.mean[:, 0, 0])
        self.precision = "auto"

    def reduced(self, halvings: int) -> "Trunk":
        """The same trunk, which sees images at 1/2 of their size, or at 1/4, 1/8 ..."""
        trunk = copy.copy(self)
        trunk.halvings = halvings
        return trunk

    def masked(self, mask: Mask) -> "Trunk":
        """The same trunk, whose pieces say which cells show nothing.

        Args:
            mask: "nodata": those without data, where an image states their colour; "background",
                also those of very light or very dark pixels alone; "none": not asked.
        """
        trunk = copy.copy(self)
        trunk.mask = mask
        return trunk

    def rounded(self, precision: Precision) -> "Trunk":
        """The same trunk, whose network computes with another precision.

        Args:
            precision: see `foveal.settings.Hardware`; features are in single precision all the
                same.
        """
        trunk = copy.copy(self)
        trunk.precision = precision
        return trunk

    def train(self, mode: bool = True) -> "Trunk":
        """Stay in evaluation mode: batch norms keep the statistics of the weights."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the features are computed."""
        return self.mean.device

    @property
    def stride(self) -> int:
        """Pixels of an image from cell to cell."""
        return self._cell << self.halvings

    @property
    def offset(self) -> float:
        """Where cell 0 is centred, in pixels of an image."""
        return self._offset * (1 << self.halvings)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the map of an image of this height and width."""
        height, width = reduced_size(size, self.halvings)
        return math.ceil(height / self._cell), math.ceil(width / self._cell)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Features of images as they are seen, in [0, 1], padded to whole cells at the bottom and
        the right."""
        below, right = (-side % self._cell for side in images.shape[2:])
        inputs = pad((images - self.mean) / self.deviation, (0, right, 0, below))
        return self._maps(inputs.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def pieces(self, image: Image, margin: int = 0) -> Iterator[Piece]:
        """Features of an image, part by part; the cores cover the map once.

        Args:
            image: with the trunk's number of channels.
            margin: cells around the core that are wanted too, where the image has them.

        Raises:
            UserError: the features are not finite.
        """
        grid = self.grid(image.size)
        image = ReducedImage(image, self.halvings) if self.halvings else image
        halo = margin + (0 if self.reach is None else math.ceil(self.reach / self._cell))
        height, width = self._core(grid, halo)
        for top in range(0, grid[0], height):
            for left in range(0, grid[1], width):
                core = (top, left, min(top + height, grid[0]), min(left + width, grid[1]))
                read, kept = _grown(core, halo, grid), _grown(core, margin, grid)
                yield self._piece(image, core, read, kept)

    def _piece(self, image: Image, core: Cells, read: Cells, kept: Cells) -> Piece:
        """The features of a core, from the cells that are read of an image as it is seen."""
        ends = [min(read[axis] * self._cell, image.size[axis - 2]) for axis in (2, 3)]
        window = torch.tensor([[read[0] * self._cell, read[1] * self._cell, *ends]])
        size = (ends[0] - int(window[0, 0]), ends[1] - int(window[0, 1]))
        pixels = image.crops(window, size).to(self.device)
        rows = slice(kept[0] - read[0], kept[2] - read[0])
        columns = slice(kept[1] - read[1], kept[3] - read[1])
        features, empty = self(pixels)[0, :, rows, columns], self._empty(pixels[0], image)
        if not bool(features.isfinite().all()):
            raise UserError(
                "features of an image are NaN or infinite: the weights are damaged, or those of "
                "another network (--weights)"
            )
        inner = (
            slice(core[0] - kept[0], core[2] - kept[0]),
            slice(core[1] - kept[1], core[3] - kept[1]),
        )
        return Piece(
            features, kept[0], kept[1], inner, None if empty is None else empty[rows, columns]
        )

    def _empty(self, pixels: Float[Tensor, "C H W"], image: Image) -> Bool[Tensor, "h w"] | None:
        """The cells of whole pixels that show nothing; None if there are none."""
        nodata = None if self.mask == "none" else nodata_of(image)
        background = self.mask == "background"
        if nodata is None and not background:
            return None
        shown = shows_something(pixels, nodata, background=background)
        cells = max_pool2d(shown.float()[None], self._cell, ceil_mode=True)[0] > 0
        return None if bool(cells.all()) else ~cells

    def _core(self, grid: tuple[int, int], halo: int) -> tuple[int, int]:
        """Rows and columns of a piece without its halo: strips of full width where these fit."""
        most = self.pixels // self._cell**2  # cells
        if self.reach is None or grid[0] * grid[1] <= most:
            return grid
        least = 2 * halo + 1
        width = grid[1] if grid[1] * 2 * least <= most else max(math.isqrt(most) - 2 * halo, least)
        height = max(most // min(width + 2 * halo, grid[1]) - 2 * halo, least)
        return _even(grid[0], height), _even(grid[1], width)

    def _maps(self, inputs: Tensor) -> Tensor:
        with rounding(self.precision, inputs.device.type):
            maps = self.network(inputs)
        features = widened(maps if isinstance(maps, Tensor) else maps[-1], inputs)
        if features.ndim != 4:
            raise ValueError(f"a trunk must give maps (B, D, h, w): got {tuple(features.shape)}")
        return features

    @torch.no_grad()
    def _shape(self) -> tuple[int, int]:
        """Number of features, and pixels from cell to cell."""
        side = 256
        try:
            maps = self._maps(self.mean.new_zeros(1, self.channels, side, side))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f"a trunk must take images of any size: {error}") from error
        stride = side / maps.shape[3]
        if maps.shape[2] != maps.shape[3] or stride != int(stride):
            raise ValueError(
                f"a trunk must give a cell every so many pixels: got a map of "
                f"{tuple(maps.shape[2:])} from {side} x {side} pixels"
            )
        return maps.shape[1], int(stride)


def _grown(core: Cells, by: int, grid: tuple[int, int]) -> Cells:
    top, left, bottom, right = core
    return (
        max(top - by, 0),
        max(left - by, 0),
        min(bottom + by, grid[0]),
        min(right + by, grid[1]),
    )


def _even(length: int, most: int) -> int:
    """The size of equal parts that are at most so long."""
    return math.ceil(length / math.ceil(length / most))
