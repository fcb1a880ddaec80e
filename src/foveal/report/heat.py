"""Scores as a map: each where the centre of its window is, laid over the picture."""

import math

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int, Real
from PIL import Image as Pillow
from torch import Tensor


def score_map(
    scores: Real[Tensor, "N"],
    windows: Int[Tensor, "N 4"],
    image_size: tuple[int, int],
    size: tuple[int, int],
) -> Float[Tensor, "h w"]:
    """Scores spread smoothly over an image, each where its window's centre is.

        map(y, x) = sum_n g_n(y, x) score_n / sum_n g_n(y, x)

    with g_n a Gaussian about the centre of window n, 0.4 of the spacing of the centres wide. The
    windows need not lie on a grid. Beyond the outermost centres the map continues as a constant.

    Args:
        scores: finite.
        windows: top left bottom right in pixels of the image.
        image_size: of the image, (height, width).
        size: of the map, (height, width).

    Returns:
        A map whose values lie between the smallest and the largest score.
    """
    centres = (windows[:, :2] + windows[:, 2:]).double() / 2  # (N, 2)
    counts = [len(set(centres[:, axis].tolist())) for axis in (0, 1)]
    # Off a grid there are fewer windows than rows x columns: widen to as many cells as windows.
    widen = max(1.0, math.sqrt(counts[0] * counts[1] / len(centres)))
    bells = []
    for axis in (0, 1):
        centre = centres[:, axis]
        low, high = float(centre.min()), float(centre.max())
        spacing = (high - low) / (counts[axis] - 1) if counts[axis] > 1 else 1.0
        coarse = min(size[axis], 256)
        place = (torch.arange(coarse, dtype=torch.float64) + 0.5) * image_size[axis] / coarse
        distance = (place.clamp(low, high)[:, None] - centre) / (0.4 * widen * spacing)
        bells.append(torch.exp(-(distance**2) / 2))  # (h or w, N)
    # The mean, with next to no weight, stands in where all the bells underflow.
    weight = bells[0] @ bells[1].T + 1e-12
    weighted = (bells[0] * scores.double()) @ bells[1].T + 1e-12 * scores.double().mean()
    coarse_map = weighted / weight  # (h, w), at most 256 each
    fine = torch.nn.functional.interpolate(coarse_map[None, None], size, mode="bilinear")
    return fine[0, 0]


def overlay(picture: Pillow.Image, heat: Tensor) -> Pillow.Image:
    """The picture under its score map: the higher the score, the brighter and the denser."""
    shares = heat.numpy()
    colours = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3]
    dense = Pillow.fromarray(((0.12 + 0.5 * shares) * 255).astype(np.uint8), "L")
    return Pillow.composite(Pillow.fromarray(colours, "RGB"), picture, dense)
