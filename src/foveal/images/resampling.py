"""Pixels (C, H, W), uint8 or float, resampled whole or in windows to float32 in [0, 1]."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate


def resampled(pixels: Tensor, size: tuple[int, int]) -> Float[Tensor, "C h w"]:
    """All pixels resampled to `size`, bilinear with antialiasing.

    On the CPU uint8 is resampled as uint8: no float copy, rounding errors of at most 1/255.
    """
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
    # torch resamples uint8 on the CPU only, and to a width of one wrongly (2.13)
    elif pixels.device.type != "cpu" or size[1] == 1:
        pixels = pixels / 255
    if pixels.shape[1:] != tuple(size):
        pixels = interpolate(pixels[None], tuple(size), mode="bilinear", antialias=True)[0]
    return pixels / 255 if pixels.dtype == torch.uint8 else pixels


def resampled_crops(
    pixels: Tensor, windows: Int[Tensor, "M 4"], size: tuple[int, int]
) -> Float[Tensor, "M C h w"]:
    """Windows cut out, zero outside the image, each resampled to `size` if it differs.

    Raises:
        ValueError: a window without height or width.
    """
    crops = torch.zeros(len(windows), pixels.shape[0], *size, device=pixels.device)
    for m, (top, left, bottom, right) in enumerate(windows.tolist()):
        crops[m] = resampled(_cut(pixels, top, left, bottom, right), size)
    return crops


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
