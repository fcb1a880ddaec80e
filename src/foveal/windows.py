"""Where the candidates lie: Int (N, 4), top left bottom right in full-resolution pixels, end
excluded.

Windows may overhang the image; outside it there are zeros.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def regular(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """One window about the centre of every cell of a grid laid evenly over the image.

    Args:
        image_size: (H, W) in pixels.
        grid_size: (rows, columns), N = rows x columns, row by row.
        patch_size: (h, w) of every window, in pixels.

    Returns:
        Windows of exactly the patch size.

    Raises:
        ValueError: a size is not positive, or there are more cells than pixels along a side.

    >>> regular((4, 4), (2, 2), (2, 2)).tolist()
    [[0, 0, 2, 2], [0, 2, 2, 4], [2, 0, 4, 2], [2, 2, 4, 4]]
    """
    if min(*image_size, *grid_size, *patch_size) < 1:
        raise ValueError(
            f"sizes must be positive: got image {image_size}, grid {grid_size}, patch {patch_size}"
        )
    if grid_size[0] > image_size[0] or grid_size[1] > image_size[1]:
        raise ValueError(f"a grid of {grid_size} cells has more cells than pixels in {image_size}")
    stride = torch.tensor(image_size, dtype=torch.float64) / torch.tensor(grid_size)
    return centred(grid(stride / 2, stride, grid_size), patch_size)


def paper(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """The grid of the paper's code, for comparison: whole strides counted from the top left corner.

    With its scorer the patch lies 12 px (traffic signs) to 15 px (billiards) off the pixels that
    made the score; `foveal.models.PatchClassifier` therefore centres windows on the scorer's own
    cells.

    References:
        Cordonnier et al., CVPR 2021; released code, `extract_patches_from_indicators`.
    """
    stride = torch.tensor([image_size[0] // grid_size[0], image_size[1] // grid_size[1]])
    corner = -torch.div(torch.tensor(patch_size) - stride, 2, rounding_mode="floor")
    top_left = grid(corner.double(), stride.double(), grid_size).long()
    return torch.cat((top_left, top_left + torch.tensor(patch_size)), dim=1)


class Level(NamedTuple):
    """A regular grid of windows of several sizes about the same points.

    Attributes:
        stride: pixels from one point to the next; the first is half of it from the border.
        side: of a square window of scale 1, in pixels.
        scales: what the side is multiplied by.
    """

    stride: int
    side: int
    scales: tuple[float, ...]


ASPECTS = (0.667, 1.0, 1.5)
"""Width by height of the windows about a point."""

LEVELS = (
    Level(32, 48, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(64, 96, (2 ** (1 / 3), 2 ** (2 / 3))),
    Level(128, 192, (1.0, 2 ** (1 / 3), 2 ** (2 / 3))),
)
"""Those of NTS-Net: 49 to 373 px high or wide."""


def anchors(
    image_size: tuple[int, int],
    levels: Sequence[Level] = LEVELS,
    aspects: Sequence[float] = ASPECTS,
) -> Int[Tensor, "N 4"]:
    """Windows of several sizes and aspects on several grids, 1614 on 448 x 448 pixels.

        height = int(side x scale / sqrt(aspect))      width = int(side x scale x sqrt(aspect))
        top = stride x row - ceil((height - stride) / 2)      left likewise

    Args:
        image_size: (H, W) in pixels; a level has ceil(H / stride) x ceil(W / stride) points.
        levels: grids, one after the other.
        aspects: width by height.

    Returns:
        Level by level; in it size by size, by scale and then by aspect; in it row by row. Where
        size and stride differ by an odd number, the middle is half a pixel up or left of the point.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018; Cordonnier et
        al., CVPR 2021, section 5.3. The coordinates are those of the latter's released code.
    """
    found = []
    for stride, side, scales in levels:
        points = (-(-image_size[0] // stride), -(-image_size[1] // stride))
        for scale, aspect in itertools.product(scales, aspects):
            height, width = int(side * scale / aspect**0.5), int(side * scale * aspect**0.5)
            first = torch.tensor([(stride - height) // 2, (stride - width) // 2])
            top_left = grid(first.double(), torch.full((2,), stride).double(), points).long()
            found.append(torch.cat((top_left, top_left + torch.tensor([height, width])), dim=1))
    return torch.cat(found)


def distinct(
    windows: Int[Tensor, "N 4"], scores: Float[Tensor, "B N"], k: int, most: float = 0.25
) -> Int[Tensor, "B k"]:
    """The k best windows that do not overlap much: greedy non-maximum suppression.

    Time and memory O(k B N). Where fewer than k windows are left, the best of those that overlap
    follow; of equal scores, the lower index comes first.

    Args:
        windows: the same for all images.
        scores: relevance of each window, without gradient.
        k: 1..N.
        most: intersection over union from which on the lower of two windows is passed over.

    Returns:
        Window numbers, best first.

    Raises:
        ValueError: k lies outside 1..N.

    >>> distinct(torch.tensor([[0, 0, 4, 4], [0, 1, 4, 5], [4, 4, 8, 8]]),
    ...          torch.tensor([[0.9, 0.8, 0.1]]), 2).tolist()
    [[0, 2]]
    """
    n = scores.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..N: got k={k} for N={n} windows")
    order = scores.sort(dim=1, descending=True, stable=True).indices
    rank = order.argsort(dim=1)  # (B, N), all different: 0 is the best
    overlaps = torch.zeros_like(rank, dtype=torch.bool)
    chosen: list[Tensor] = []
    for _ in range(k):
        best = (rank + n * overlaps).argmin(dim=1)  # (B,)
        chosen.append(best)
        overlaps |= iou(windows[best], windows) >= most
        rank = rank.scatter(1, best[:, None], 2 * n)
    return torch.stack(chosen, dim=1)


def grid(
    first: Float[Tensor, "2"], stride: Float[Tensor, "2"], size: tuple[int, int]
) -> Float[Tensor, "N 2"]:
    """The points first + stride x (row, column), row by row."""
    rows = first[0] + stride[0] * torch.arange(size[0], dtype=torch.float64)
    columns = first[1] + stride[1] * torch.arange(size[1], dtype=torch.float64)
    return torch.cartesian_prod(rows, columns)


def centred(centres: Float[Tensor, "*N 2"], patch_size: tuple[int, int]) -> Int[Tensor, "*N 4"]:
    """Windows of exactly the patch size about points (y, x), moved by less than a pixel to whole
    ones."""
    size = torch.tensor(patch_size, device=centres.device)
    top_left = torch.floor(centres - size / 2 + 0.5).long()
    return torch.cat((top_left, top_left + size), dim=-1)


def centres(windows: Int[Tensor, "*N 4"]) -> Float[Tensor, "*N 2"]:
    """The middle (y, x) of each window, in pixels."""
    return (windows[..., :2] + windows[..., 2:]).float() / 2


def coordinates(
    windows: Float[Tensor, "*N 4"], image_size: Float[Tensor, "*#N 2"], patch_size: tuple[int, int]
) -> Float[Tensor, "*N 2 h w"]:
    """Where each pixel of each window's patch lies: (y, x) as shares of the image, 0 to 1 inside.

    >>> coordinates(torch.tensor([0.0, 2, 2, 4]), torch.tensor([4.0, 4]), (2, 2)).tolist()
    [[[0.125, 0.125], [0.375, 0.375]], [[0.625, 0.875], [0.625, 0.875]]]
    """
    axes = []
    for axis, pixels in enumerate(patch_size):
        share = (torch.arange(pixels, device=windows.device) + 0.5) / pixels
        first, last = windows[..., axis, None], windows[..., axis + 2, None]
        axes.append((first + (last - first) * share) / image_size[..., axis, None])  # (*N, pixels)
    size = (*windows.shape[:-1], *patch_size)
    y, x = axes[0][..., :, None].expand(size), axes[1][..., None, :].expand(size)
    return torch.stack((y, x), dim=-3)


def area(windows: Int[Tensor, "*N 4"]) -> Int[Tensor, "*N"]:
    """Pixels in each window; an inverted one has none."""
    sides = (windows[..., 2:] - windows[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Int[Tensor, "N n"]:
    """Pixels that each window shares with each box."""
    a, b = windows[:, None], boxes[None]
    top_left = torch.maximum(a[..., :2], b[..., :2])
    bottom_right = torch.minimum(a[..., 2:], b[..., 2:])
    return area(torch.cat((top_left, bottom_right), dim=-1))


def overlap(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """The share of each box that each window covers, in [0, 1]."""
    return intersection(windows, boxes) / area(boxes).clamp(min=1)


def hits(
    windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"], share: float = 0.5
) -> Bool[Tensor, "N n"]:
    """Which windows cover at least `share` of which boxes."""
    return overlap(windows, boxes) >= share


def iou(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """Intersection over union, in [0, 1]."""
    common = intersection(windows, boxes)
    return common / (area(windows)[:, None] + area(boxes) - common).clamp(min=1)
