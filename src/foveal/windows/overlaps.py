"""What windows share with boxes and with one another."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


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


def coverage(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """The share of each box that each window covers, in [0, 1]."""
    return intersection(windows, boxes) / area(boxes).clamp(min=1)


def covers(
    windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"], share: float = 0.5
) -> Bool[Tensor, "N n"]:
    """Which windows cover at least `share` of which boxes."""
    return coverage(windows, boxes) >= share


def iou(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """Intersection over union, in [0, 1]."""
    common = intersection(windows, boxes)
    return common / (area(windows)[:, None] + area(boxes) - common).clamp(min=1)


def nms(
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

    >>> nms(torch.tensor([[0, 0, 4, 4], [0, 1, 4, 5], [4, 4, 8, 8]]),
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
