"""The score map: scores at the centres of their windows, interpolated, over the picture."""

import math

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int, Real
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import interpolate


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
    Where windows fill parts of a grid alone, the regions of a second glance, nothing is known of
    the rest.

    Args:
        scores: finite.
        windows: top left bottom right in pixels of the image.
        image_size: (height, width) of the image.
        size: (height, width) of the map.

    Returns:
        A map whose values lie between the smallest and the largest score, NaN where nothing is
        known.
    """
    centres = (windows[:, :2] + windows[:, 2:]).double() / 2  # (N, 2)
    lines = [torch.unique(centres[:, axis]) for axis in (0, 1)]
    cells = len(lines[0]) * len(lines[1])
    is_grid = 2 * max(map(len, lines)) <= len(centres)
    # Off a grid there are fewer windows than rows x columns: widen to as many cells as windows.
    widen = 1.0 if is_grid else max(1.0, math.sqrt(cells / len(centres)))
    kernels, held = [], []
    for axis in (0, 1):
        centre, line = centres[:, axis], lines[axis]
        low, high = float(line[0]), float(line[-1])
        spacing = (high - low) / (len(line) - 1) if len(line) > 1 else 1.0
        if is_grid and len(line) > 1:
            spacing = float(line.diff().median())
        coarse = min(size[axis], 256)
        place = (torch.arange(coarse, dtype=torch.float64) + 0.5) * image_size[axis] / coarse
        distance = (place.clamp(low, high)[:, None] - centre) / (0.4 * widen * spacing)
        kernels.append(torch.exp(-(distance**2) / 2))  # (h or w, N)
        half = (windows[:, 2 + axis] - windows[:, axis]).double().clamp(min=1.5 * spacing) / 2
        held.append(((place[:, None] - centre).abs() <= half).double())
    # Where all kernels underflow, the mean of the scores takes over.
    weight = kernels[0] @ kernels[1].T + 1e-12
    weighted = (kernels[0] * scores.double()) @ kernels[1].T + 1e-12 * scores.double().mean()
    coarse_map = weighted / weight  # (h, w), at most 256 each
    fine = interpolate(coarse_map[None, None], size, mode="bilinear")[0, 0]
    if is_grid and cells > len(centres):
        seen = interpolate((held[0] @ held[1].T)[None, None], size)[0, 0]  # by how many windows
        fine[seen == 0] = math.nan
    return fine


def overlay(picture: Pillow.Image, heat: Tensor) -> Pillow.Image:
    """The picture with its score map on top: higher scores are brighter and more opaque."""
    shares, known = heat.nan_to_num(0.0).numpy(), heat.isfinite().numpy()
    colours = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3]
    opacity = (0.12 + 0.5 * shares) * known
    dense = Pillow.fromarray((opacity * 255).astype(np.uint8), "L")
    return Pillow.composite(Pillow.fromarray(colours, "RGB"), picture, dense)
