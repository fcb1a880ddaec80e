"""What pixels a cell of a network's map depends on, and large inputs computed in strips.

Cell row i depends on the rows of pixels from stride x i - before to stride x i + after, the last
excluded. A strip is read with these rows about it, so its cells are those of the whole: equal but
for the rounding of convolutions, which libraries compute in another order for another size.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.nn.backbones import backbone, feature_map

LARGE = 3 * 2**19  # pixels; an input that has more is computed in pieces of about so many
_PROBE = 2048  # pixels; a cell that depends on more depends on the whole image

Maps = Callable[[Tensor], Tensor]
"""From images (B, C, H, W) to maps (B, D, h, w)."""


class Reach(NamedTuple):
    """Rows of pixels that a row of cells depends on, from its first pixel on."""

    before: int
    after: int


@torch.no_grad()
def receptive_field(
    maps: Maps, stride: int, pixel: Float[Tensor, " C"]
) -> tuple[float, int | None]:
    """Measure the centre of cell 0 and the reach of any cell, in pixels.

    A row of pixels that is not a number makes every cell that depends on it not a number.

    Args:
        maps: the network, in evaluation mode.
        stride: pixels from cell to cell.
        pixel: any, of the device and type that the network takes.

    Returns:
        Cell i depends on the pixels from stride x i - reach to stride x i + reach. None: on the
        whole image, or on where in the image it is, as in networks that attend within windows.
    """
    height, width = 32 * stride, max(4 * stride, 32)
    while height <= _PROBE:
        rows = height // 2 + torch.arange(stride)
        inputs = pixel.new_zeros(stride, len(pixel), height, width)
        inputs[torch.arange(stride), :, rows] = torch.nan
        struck = maps(inputs).isnan().any(dim=3).any(dim=1).cpu()  # (stride, cells)
        first = struck.int().argmax(dim=1)
        last = struck.shape[1] - 1 - struck.flip(1).int().argmax(dim=1)
        if not (struck[:, 0].any() or struck[:, -1].any()):
            centre = rows + 0.5 - stride * (first + last) / 2
            reach = int(torch.maximum(rows + 1 - first * stride, last * stride - rows).max())
            moves = _moves_along(maps, stride, reach, pixel.new_zeros(1, len(pixel), height, width))
            return float(centre.mean()), reach if moves else None
        height *= 2
    return stride / 2, None


def _moves_along(maps: Maps, stride: int, reach: int, blank: Float[Tensor, "1 C H W"]) -> bool:
    """Whether the maps of an image that is moved by the stride move by a cell."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(blank.shape, generator=generator).to(blank)
    edge = math.ceil(reach / stride) + 1
    whole, moved = maps(image), maps(image[:, :, stride:])
    inner, same = whole[:, :, edge + 1 : -edge], moved[:, :, edge:-edge]
    return inner.shape == same.shape and torch.allclose(inner, same, rtol=1e-3, atol=1e-4)


@lru_cache(maxsize=64)
def cell_reach(name: str, stage: int) -> Reach | None:
    """What a cell of a timm network's feature map depends on; None: on the whole image.

    Measured on a network of its own, once in a process: it follows from the architecture alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = backbone(name, stage).eval()
    stride = int(network.feature_info.reduction()[-1])
    maps = partial(feature_map, network, mean=(0.0,) * 3, std=(1.0,) * 3)
    try:
        reach = receptive_field(maps, stride, torch.zeros(3))[1]
    except (AssertionError, RuntimeError):  # a network for images of one size
        return None
    return None if reach is None else Reach(reach, reach)


def in_strips(
    maps: Maps, images: Float[Tensor, "B C H W"], *, stride: int, reach: Reach | None
) -> Float[Tensor, "B D h w"]:
    """Return the maps of images; those of large ones one by one, in strips of rows.

    Memory is that of the largest strip, of about 1.5 megapixels or as many as a row of cells
    depends on, and of the maps.

    Args:
        maps: a network that does not learn from statistics of a batch.
        images: of one size.
        stride: pixels from cell to cell.
        reach: what a cell depends on; None: the whole image, which is computed in one piece.
    """
    height, width = images.shape[2:]
    if reach is None or height * width <= LARGE:
        return maps(images)
    rows = max(1, (LARGE // width - reach.before - reach.after) // stride)  # of cells
    return torch.cat([_in_strips(maps, each[None], stride, reach, rows) for each in images])


def _in_strips(maps: Maps, image: Tensor, stride: int, reach: Reach, rows: int) -> Tensor:
    height, margin = image.shape[2], math.ceil(reach.before / stride)
    found, top, end = list[Tensor](), 0, 0
    while end < height:
        first = max(top - margin, 0)  # cell that the strip begins with
        # networks pad by what a side leaves over, divided by the stride: so it stays the same
        needed = stride * (top + rows - 1) + reach.after
        end = height - max(0, height - needed) // stride * stride
        strip = maps(image[:, :, stride * first : end])
        found.append(strip[:, :, top - first : None if end == height else top - first + rows])
        top += rows
    return torch.cat(found, dim=2)
