"""Pixels (C, H, W), uint8 or float, resampled whole or in windows to float32 in [0, 1]."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import interpolate


def resampled(pixels: Tensor, size: tuple[int, int]) -> Float[Tensor, "*B C h w"]:
    """All pixels (*B, C, H, W) resampled to `size`, bilinear with antialiasing.

    On the CPU uint8 is resampled as uint8: no float copy, rounding errors of at most 1/255.
    """
    # torch 2.13 gives all rows of a picture one pixel wide the value of the first
    if size[1] == 1 and size[0] > 1:
        return resampled(pixels.mT, (1, size[0])).mT
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
    # torch resamples uint8 on the CPU only, and wrongly to or from a width of one pixel (2.13): of
    # a transposed row it reads what lies beside it in memory
    elif pixels.device.type != "cpu" or 1 in (size[1], pixels.shape[-1]):
        pixels = pixels / 255
    if pixels.shape[-2:] != tuple(size):
        batch = pixels if pixels.ndim == 4 else pixels[None]
        batch = interpolate(batch, tuple(size), mode="bilinear", antialias=True)
        pixels = batch if pixels.ndim == 4 else batch[0]
    return pixels / 255 if pixels.dtype == torch.uint8 else pixels


def resampled_bands(
    bands: Iterable[UInt8[Tensor, "C _b W"]], height: int, size: tuple[int, int]
) -> Float[Tensor, "C h w"]:
    """As `resampled` of an image in bands of rows, of which one at a time is in memory.

    Resampling is linear, and rows and columns are resampled one after the other: each band is
    brought to its final width, and added to the rows that it is a part of. A single band equals
    `resampled` to the bit, several to 1/255.

    Args:
        bands: the image from top to bottom; all rows.
        height: H, the number of rows of all bands.
        size: (h, w) of the result.
    """
    total, norm, top = None, torch.zeros(size[0]), 0
    for band in bands:
        rows = band.shape[1]
        if rows == height:
            return resampled(band, size)
        weights = _triangles(height, size[0], top, top + rows)  # (h, b)
        near = weights.any(dim=1)
        if total is None:
            total = torch.zeros(band.shape[0], *size)
        total[:, near] += weights[near] @ resampled(band, (rows, size[1]))
        norm += weights.sum(dim=1)
        top += rows
    if total is None or top != height:
        raise ValueError(f"bands must have {height} rows together: got {top}")
    return (total * (255 / norm[:, None])).round_().div_(255)


def _triangles(height: int, h: int, top: int, bottom: int) -> Float[Tensor, "h b"]:
    """Antialiased bilinear weights of the rows top..bottom - 1 of `height`, in each of h rows."""
    scale = height / h
    centres = (torch.arange(h, dtype=torch.float64)[:, None] + 0.5) * scale
    rows = torch.arange(top, bottom, dtype=torch.float64) + 0.5
    return (1 - (rows - centres).abs() / max(scale, 1.0)).clamp(min=0).float()


def resampled_crops(
    pixels: Tensor, windows: Int[Tensor, "M 4"], size: tuple[int, int]
) -> Float[Tensor, "M C h w"]:
    """Windows cut out, zero outside the image, each resampled to `size` if it differs.

    Raises:
        ValueError: a window without height or width.
    """
    shape = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
    slices = lambda top, left, bottom, right: pixels[:, top:bottom, left:right]  # noqa: E731
    return crops_of_regions(slices, shape, windows, size, pixels.device)


def resampled_box(
    region: Callable[[int, int, int, int], UInt8[Tensor, "C _h _w"]],
    shape: tuple[int, int, int],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
) -> Float[Tensor, "C h w"]:
    """A part of an image, whose borders may lie between its pixels, resampled with antialiasing.

    Args:
        region: the pixels of top, left, bottom, right, which lie inside the image.
        shape: (C, H, W) of the image.
        box: top left bottom right of the part; zero outside the image.
        size: (h, w) of the result.
    """
    top, left = math.floor(box[0]), math.floor(box[1])
    window = (top, left, max(math.ceil(box[2]), top + 1), max(math.ceil(box[3]), left + 1))
    channels, height, width = shape
    pixels = torch.zeros(channels, window[2] - top, window[3] - left, dtype=torch.uint8)
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(window[2], height), min(window[3], width)
    if y0 < y1 and x0 < x1:
        pixels[:, y0 - top : y1 - top, x0 - left : x1 - left] = region(y0, x0, y1, x1)
    if window == box:
        return resampled(pixels, size)
    inner = (box[1] - left, box[0] - top, box[3] - left, box[2] - top)
    planes = [
        np.asarray(
            PIL.Image.fromarray(plane.numpy()).resize(
                (size[1], size[0]), PIL.Image.Resampling.BILINEAR, inner
            )
        )
        for plane in pixels
    ]
    return torch.from_numpy(np.stack(planes)) / 255


def crops_of_regions(
    region: Callable[[int, int, int, int], Tensor],
    shape: tuple[int, int, int],
    windows: Int[Tensor, "M 4"],
    size: tuple[int, int],
    device: torch.device | None = None,
) -> Float[Tensor, "M C h w"]:
    """As `resampled_crops` of an image that gives its pixels by regions.

    Args:
        region: the pixels of top, left, bottom, right, which lie inside the image.
        shape: (C, H, W) of the image.
        windows: top left bottom right, in the image or not.
        size: (h, w) of every crop.
        device: where the crops are put.

    Raises:
        ValueError: a window without height or width.
    """
    channels, height, width = shape
    crops = torch.zeros(len(windows), channels, *size, device=device)
    for m, (top, left, bottom, right) in enumerate(windows.tolist()):
        if bottom <= top or right <= left:
            raise ValueError(f"windows must end after they begin: got {(top, left, bottom, right)}")
        y0, x0, y1, x1 = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
        if y0 >= y1 or x0 >= x1:
            continue
        piece = region(y0, x0, y1, x1)
        if (y0, x0, y1, x1) != (top, left, bottom, right):
            inside = piece
            piece = piece.new_zeros(channels, bottom - top, right - left)
            piece[:, y0 - top : y1 - top, x0 - left : x1 - left] = inside
        crops[m] = resampled(piece, size)
    return crops
