"""Large images behind one protocol: a small view of the whole, and close looks at full resolution.

An image is (C, H, W). It gives `view(size)` (C, h, w), the whole resampled, and
`crops(windows, size)` (M, C, h, w), pieces cut out at full resolution. Both are float32 in [0, 1].
What is stored stays as it is until it is cut, so that no float copy of a large image is made.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from foveal.errors import ImageRefused
from foveal.images.decoding import ImageError, decoded, opened, upright_size

__all__ = ["FileImage", "Image", "ImageError", "Images", "TensorImage", "read", "sources"]


@runtime_checkable
class Image(Protocol):
    """What a model needs of an image, wherever its pixels are kept."""

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


class TensorImage:
    """An image in memory.

    Args:
        pixels: (C, H, W), uint8, or floating point in [0, 1]; any number of channels, any device.

    Raises:
        TypeError: for pixels of another type.
        ValueError: for another number of axes, or an empty image.
    """

    def __init__(self, pixels: Tensor) -> None:
        if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
            raise TypeError(f"pixels must be uint8 or floating point in [0, 1]: got {pixels.dtype}")
        if pixels.ndim != 3 or pixels.numel() == 0:
            raise ValueError(f"pixels must be (C, H, W), none zero: got {tuple(pixels.shape)}")
        self.pixels = pixels
        self.channels: int = pixels.shape[0]
        self.size: tuple[int, int] = (pixels.shape[1], pixels.shape[2])

    def view(self, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
        """Resample the whole image, antialiased, to exactly `size`.

        On the CPU uint8 is resampled as uint8: no float copy, for rounding errors of at most 1/255.
        """
        return _resampled(self.pixels, size)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M C h w"]:
        """Cut windows out of the image.

        Args:
            windows: top, left, bottom, right in pixels, end excluded. They may overhang the image
                or lie outside it: there, pixels are zero.
            size: height and width of every crop. Windows of that size are copied pixel by pixel,
                others are cut and then resampled with antialiasing.

        Raises:
            ValueError: for a window without height or width.
        """
        crops = torch.zeros(len(windows), self.channels, *size, device=self.pixels.device)
        for m, (top, left, bottom, right) in enumerate(windows.tolist()):
            crops[m] = _resampled(_cut(self.pixels, top, left, bottom, right), size)
        return crops


class FileImage:
    """An image in a file: JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000 or PPM, read when needed.

    The size comes from the header alone. Decoded pixels are kept as long as this object lives.
    Every method raises `ImageError` for a file that cannot be used.
    """

    channels = 3

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._size: tuple[int, int] | None = None
        self._pixels: UInt8[Tensor, "3 H W"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, upright."""
        if self._size is None:
            with opened(self.path) as image:
                self._size = upright_size(image)
        return self._size

    def decode(self) -> UInt8[Tensor, "3 H W"]:
        """Return all pixels; the file is read at the first call."""
        if self._pixels is None:
            self._pixels = read(self.path)
        return self._pixels

    def view(self, size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
        """Resample the whole image, antialiased, to exactly `size`.

        A JPEG that is not decoded yet is decoded at 1/2, 1/4 or 1/8 of its size where that is at
        least as large as the view, and is not kept: this saves time and memory, and the view
        differs a little from that of the decoded image. Every other file is decoded and kept.
        """
        if self._pixels is None:
            pixels = decoded(self.path, at_least=size)
            if pixels.shape[1:] != self.size:
                return _resampled(pixels, size)
            self._pixels = pixels
        return _resampled(self._pixels, size)

    def crops(self, windows: Int[Tensor, "M 4"], size: tuple[int, int]) -> Float[Tensor, "M 3 h w"]:
        """Cut windows out of the decoded image, as `TensorImage.crops` does."""
        return TensorImage(self.decode()).crops(windows, size)


Images = Tensor | Sequence[Tensor] | Sequence[Image]
"""What models take: (B, C, H, W), or images of any kinds and sizes."""


def sources(images: Images, channels: int) -> Sequence[Image]:
    """Images as models take them, (B, C, H, W) or one by one, behind the one protocol.

    Args:
        images: uint8 or in [0, 1].
        channels: that the model sees. Where it sees one, images of three are averaged to grey.

    Raises:
        ValueError: a tensor of another rank.
        ImageRefused: an image of another number of channels.
    """
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W): got {tuple(images.shape)}")
    found: list[Image] = [
        TensorImage(image) if isinstance(image, Tensor) else image for image in images
    ]
    if channels == 1:
        found = [_grey(image) for image in found]
    for image in found:
        if image.channels != channels:
            raise ImageRefused(f"the model takes {channels} channels: got {image.channels}")
    return found


def _grey(image: Image) -> Image:
    """The mean of three channels, of an image that can be had as a whole."""
    if image.channels != 3 or not isinstance(image, TensorImage | FileImage):
        return image
    pixels = image.pixels if isinstance(image, TensorImage) else image.decode()
    mean = pixels.mean(
        dim=0, keepdim=True, dtype=None if pixels.is_floating_point() else torch.float32
    )
    return TensorImage(mean if pixels.is_floating_point() else mean.round().to(pixels.dtype))


def read(path: str | Path) -> UInt8[Tensor, "3 H W"]:
    """Decode an image file, upright. Strides are as decoded, channels last.

    Raises:
        ImageError: no such file; or empty, damaged, no image, several images, too large.
    """
    return decoded(Path(path))


def _cut(pixels: Tensor, top: int, left: int, bottom: int, right: int) -> Tensor:
    if bottom <= top or right <= left:
        raise ValueError(f"windows must end after they begin: got {(top, left, bottom, right)}")
    channels, height, width = pixels.shape
    if min(top, left) >= 0 and bottom <= height and right <= width:
        return pixels[:, top:bottom, left:right]
    piece = pixels.new_zeros(channels, bottom - top, right - left)
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    if y0 < y1 and x0 < x1:
        piece[:, y0 - top : y1 - top, x0 - left : x1 - left] = pixels[:, y0:y1, x0:x1]
    return piece


def _resampled(pixels: Tensor, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
    # torch resamples uint8 on the CPU only, and to a width of one wrongly (2.13)
    elif pixels.device.type != "cpu" or size[1] == 1:
        pixels = pixels / 255
    if pixels.shape[1:] != tuple(size):
        pixels = interpolate(pixels[None], tuple(size), mode="bilinear", antialias=True)[0]
    return pixels / 255 if pixels.dtype == torch.uint8 else pixels
