"""The score map: scores at the centres of their windows, interpolated, over the picture."""

import math

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int, Real
from PIL import Image as Pillow
from torch import Tensor


def score_map(
    scores: Real[Tensor, " N"],
    windows: Int[Tensor, "N 4"],
    image_size: tuple[int, int],
    size: tuple[int, int],
) -> Float[Tensor, "h w"]:
    """Interpolate scores, given at the centres of their windows, smoothly over an image.

        map(y, x) = sum_n g_n(y, x) score_n / sum_n g_n(y, x)

    with g_n a Gaussian around the centre of window n; its standard deviation is 0.4 of the spacing
    of the centres. Windows may lie off a grid; beyond the outermost centres the map is constant.

    Args:
        scores: finite.
        windows: top left bottom right in pixels of the image.
        image_size: (height, width) of the image.
        size: (height, width) of the map.

    Returns:
        A map whose values lie between the smallest and the largest score.
    """
    centres = (windows[:, :2] + windows[:, 2:]).double() / 2  # (N, 2)
    counts = [len(set(centres[:, axis].tolist())) for axis in (0, 1)]
    # Off a grid there are fewer windows than rows x columns: widen to as many cells as windows.
    widen = max(1.0, math.sqrt(counts[0] * counts[1] / len(centres)))
    kernels = []
    for axis in (0, 1):
        centre = centres[:, axis]
        low, high = float(centre.min()), float(centre.max())
        spacing = (high - low) / (counts[axis] - 1) if counts[axis] > 1 else 1.0
        coarse = min(size[axis], 256)
        place = (torch.arange(coarse, dtype=torch.float64) + 0.5) * image_size[axis] / coarse
        distance = (place.clamp(low, high)[:, None] - centre) / (0.4 * widen * spacing)
        kernels.append(torch.exp(-(distance**2) / 2))  # (h or w, N)
    # Where all kernels underflow, the mean of the scores takes over.
    weight = kernels[0] @ kernels[1].T + 1e-12
    weighted = (kernels[0] * scores.double()) @ kernels[1].T + 1e-12 * scores.double().mean()
    coarse_map = weighted / weight  # (h, w), at most 256 each
    fine = torch.nn.functional.interpolate(coarse_map[None, None], size, mode="bilinear")
    return fine[0, 0]


def overlay(picture: Pillow.Image, heat: Tensor) -> Pillow.Image:
    """The picture with its score map on top: higher scores are brighter and more opaque."""
    shares = heat.numpy()
    colours = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3]
    dense = Pillow.fromarray(((0.12 + 0.5 * shares) * 255).astype(np.uint8), "L")
    return Pillow.composite(Pillow.fromarray(colours, "RGB"), picture, dense)
