"""Large images behind one protocol: a small view of the whole, and crops at full resolution.

An image is (C, H, W). `view(size)` (C, h, w) is the whole image resampled; `crops(windows, size)`
(M, C, h, w) are cut out at full resolution. Both are float32 in [0, 1]. Stored pixels keep their
type until they are cut: a large uint8 image is never copied to float.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.errors import ImageRefused
from foveal.images.files import FileImage, read
from foveal.images.nodata import Colour, nodata_of
from foveal.images.orientation import Window
from foveal.images.refusals import ImageError
from foveal.images.resampling import resampled, resampled_crops

__all__ = [
    "FileImage",
    "Glanceable",
    "Image",
    "ImageError",
    "Images",
    "TensorImage",
    "nodata_of",
    "read",
    "sources",
]


@runtime_checkable
class Image(Protocol):
    """What a model needs of an image, wherever its pixels are stored."""

    # isinstance evaluates a protocol's properties (Python 3.11), which would open the file
    if TYPE_CHECKING:

        @property
        def size(self) -> tuple[int, int]:
            """Height and width in pixels."""

        @property
        def channels(self) -> int:
            """Number of channels C."""

    def view(self, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """Resample the whole image, antialiased, to exactly `size`."""

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M C h w"]:
        """Cut out windows, zero outside the image, each resampled to `size` if it differs."""


@runtime_checkable
class Glanceable(Protocol):
    """An image that shows a part of itself small, without reading all the pixels of that part."""

    def glance(self, window: Window, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """A window, top left bottom right, zero outside the image, resampled to `size`."""


class TensorImage:
    """An image in memory.

    Args:
        pixels: (C, H, W), uint8, or floating point in [0, 1]; any number of channels, any device.
            Floats may leave [0, 1] by up to 0.5, so that colour augmentation need not clip.
        nodata: colour of pixels without data, in [0, 1]; None: all have data.

    Raises:
        TypeError: pixels of another type.
        ValueError: another number of axes, an empty image, or floats outside [-0.5, 1.5].
    """

    def __init__(self, pixels: Tensor, nodata: Colour | None = None) -> None:
        if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
            raise TypeError(f"pixels must be uint8 or floating point in [0, 1]: got {pixels.dtype}")
        if pixels.ndim != 3 or pixels.numel() == 0:
            raise ValueError(f"pixels must be (C, H, W), not empty: got {tuple(pixels.shape)}")
        if pixels.is_floating_point():
            _check_range(pixels)
        self.pixels = pixels
        self.channels: int = pixels.shape[0]
        self.size: tuple[int, int] = (pixels.shape[1], pixels.shape[2])
        self._nodata = nodata

    def nodata(self) -> Colour | None:
        """The colour of pixels without data."""
        return self._nodata

    def to(self, device: torch.device) -> "TensorImage":
        """Return the same image on a device."""
        moved = copy.copy(self)
        moved.pixels = self.pixels.to(device, non_blocking=True)
        return moved

    def pin_memory(self) -> "TensorImage":
        """Return the same image in memory that a GPU copies from by itself."""
        pinned = copy.copy(self)
        pinned.pixels = self.pixels.pin_memory()
        return pinned

    def view(self, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """Resample the whole image, antialiased, to exactly `size`.

        On the CPU uint8 is resampled as uint8: no float copy, rounding errors of at most 1/255.
        """
        return resampled(self.pixels, size)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M C h w"]:
        """Cut windows out of the image.

        Args:
            windows: top left bottom right in pixels, end excluded. Outside the image pixels are
                zero.
            size: (h, w) of every crop. Windows of that size are copied, others are cut and then
                resampled with antialiasing.

        Raises:
            ValueError: a window without height or width.
        """
        return resampled_crops(self.pixels, windows, size)


# How far floats may leave [0, 1].
_TOLERANCE = 0.5

Images = Tensor | Sequence[Tensor] | Sequence[Image]
"""What models take, (B, C, H, W) or a sequence of images of any sizes."""


def sources(images: Images, channels: int) -> Sequence[Image]:
    """A model's input as `Image`s.

    Args:
        images: uint8, or floating point in [0, 1].
        channels: number of channels of the model. For one, images of three are averaged to grey.

    Raises:
        TypeError: pixels that are neither uint8 nor floating point.
        ValueError: a tensor of another rank, or floats far outside [0, 1].
        ImageRefused: an image of another number of channels.
    """
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W): got {tuple(images.shape)}")
    each: list[Image] = [
        TensorImage(image) if isinstance(image, Tensor) else image for image in images
    ]
    if channels == 1:
        each = [_grey(image) for image in each]
    for image in each:
        if image.channels != channels:
            raise ImageRefused(f"the model takes {channels} channels: got {image.channels}")
    return each


def _check_range(pixels: Float[Tensor, "C H W"]) -> None:
    """Refuse floats of 0..255 and standardised ones, and let unclipped augmentation pass.

    Augmentation x -> a x + b with a <= 1.2 and |b| <= 0.1 stays within [-0.1, 1.3]. Standardised
    photographs reach about -2 to 2.6. A compiled graph leaves the check out.
    """
    if torch.compiler.is_compiling() or pixels.is_meta:
        return
    # in the order of memory: ten times faster with channels last
    order = sorted(range(3), key=pixels.stride, reverse=True)
    lowest, highest = (float(value) for value in torch.aminmax(pixels.detach().permute(order)))
    if not (lowest >= 0 - _TOLERANCE and highest <= 1 + _TOLERANCE):
        raise ValueError(
            f"pixels must lie in [0, 1]: got {lowest:.4g} to {highest:.4g}; divide values of "
            "0..255 by 255 or pass them as uint8, and pass images before normalisation"
        )


def _grey(image: Image) -> Image:
    """The mean of the three channels of a tensor or a file; other images as they are."""
    from foveal.images.augmented import AugmentedImage  # which builds on this module

    if isinstance(image, AugmentedImage):
        return replace(image, source=_grey(image.source))
    if image.channels != 3 or not isinstance(image, TensorImage | FileImage):
        return image
    if isinstance(image, FileImage):
        return _GreyFile(image)
    pixels = image.pixels
    mean = pixels.mean(
        dim=0, keepdim=True, dtype=None if pixels.is_floating_point() else torch.float32
    )
    mean = mean if pixels.is_floating_point() else mean.round().to(pixels.dtype)
    return TensorImage(mean, _grey_colour(image.nodata()))


def _grey_colour(colour: Colour | None) -> Colour | None:
    return None if colour is None else (sum(colour) / len(colour),)


class _GreyFile:
    """The mean of the three channels of a file, rounded to 8 bits as that of a tensor."""

    channels = 1

    def __init__(self, file: FileImage) -> None:
        self.file = file

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, upright."""
        return self.file.size

    def nodata(self) -> Colour | None:
        """As `FileImage.nodata`."""
        return _grey_colour(self.file.nodata())

    def view(self, size: tuple[int, int]) -> Float[Tensor, "1 h w"]:
        """As `FileImage.view`."""
        return _rounded_mean(self.file.view(size), 0)

    def glance(self, window: Window, size: tuple[int, int]) -> Float[Tensor, "1 h w"]:
        """As `FileImage.glance`."""
        return _rounded_mean(self.file.glance(window, size), 0)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M 1 h w"]:
        """As `FileImage.crops`."""
        return _rounded_mean(self.file.crops(windows, size), 1)


def _rounded_mean(pixels: Tensor, axis: int) -> Tensor:
    return pixels.mean(dim=axis, keepdim=True).mul_(255).round_().div_(255)
