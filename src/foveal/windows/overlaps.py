"""Areas, intersections and overlap of windows and boxes, and non-maximum suppression."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def area(windows: Int[Tensor, "*N 4"]) -> Int[Tensor, "*N"]:
    """The number of pixels of each window; 0 for one that ends before it begins."""
    sides = (windows[..., 2:] - windows[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Int[Tensor, "N n"]:
    """The number of pixels in both a window and a box."""
    a, b = windows[:, None], boxes[None]
    top_left = torch.maximum(a[..., :2], b[..., :2])
    bottom_right = torch.minimum(a[..., 2:], b[..., 2:])
    return area(torch.cat((top_left, bottom_right), dim=-1))


def coverage(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """The fraction of each box that each window covers, in [0, 1]."""
    return intersection(windows, boxes) / area(boxes).clamp(min=1)


def covers(
    windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"], fraction: float = 0.5
) -> Bool[Tensor, "N n"]:
    """Whether a window covers at least this fraction of a box."""
    return coverage(windows, boxes) >= fraction


def can_cover(window: tuple[int, int], boxes: Int[Tensor, "n 4"]) -> bool:
    """Whether a window of this height and width covers at least half of some box at its best place.

    >>> can_cover((64, 64), torch.tensor([[0, 0, 114, 114]]))
    False
    """
    common = (boxes[:, 2:] - boxes[:, :2]).minimum(boxes.new_tensor(window)).prod(dim=1)
    return bool((2 * common >= area(boxes)).any())


def cover_chance(
    window: tuple[int, int], boxes: Int[Tensor, "n 4"], image: tuple[int, int]
) -> float:
    """The probability that a window at a random place covers at least half of some box.

    All places inside the image are equally likely. Counts them all where there are up to 512 along
    a side, else 512 evenly spaced ones. Time O(n) times the number of places.

    Args:
        window: height and width of the window.
        boxes: on the CPU.
        image: height and width of the image.

    >>> cover_chance((2, 2), torch.tensor([[0, 0, 2, 2]]), (4, 4))
    0.3333333432674408
    """
    tops, lefts = (
        torch.linspace(0, free, min(free + 1, _PLACES)).round().long()
        for free in (max(side - length, 0) for side, length in zip(image, window, strict=True))
    )
    covered = torch.zeros(len(tops), len(lefts), dtype=torch.bool)
    for box, pixels in zip(boxes, area(boxes).clamp(min=1), strict=True):
        down = (tops + window[0]).minimum(box[2]) - tops.maximum(box[0])
        across = (lefts + window[1]).minimum(box[3]) - lefts.maximum(box[1])
        covered |= 2 * torch.outer(down.clamp(min=0), across.clamp(min=0)) >= pixels
    return float(covered.float().mean())


_PLACES = 512  # along a side, at most


def iou(windows: Int[Tensor, "N 4"], boxes: Int[Tensor, "n 4"]) -> Float[Tensor, "N n"]:
    """Intersection over union of windows and boxes, in [0, 1]."""
    common = intersection(windows, boxes)
    return common / (area(windows)[:, None] + area(boxes) - common).clamp(min=1)


def nms(
    windows: Int[Tensor, "N 4"], scores: Float[Tensor, "B N"], k: int, iou_threshold: float = 0.25
) -> Int[Tensor, "B k"]:
    """The k best windows that do not overlap much: greedy non-maximum suppression.

    Time and memory O(k B N). Where fewer than k windows remain, the best suppressed ones follow.
    Ties go to the lower index.

    Args:
        windows: the same for all images.
        scores: relevance of each window; no gradient flows.
        k: number of windows kept, 1..N.
        iou_threshold: of two windows whose IoU reaches it, the lower one is suppressed.

    Returns:
        Numbers of windows, best first.

    Raises:
        ValueError: k lies outside 1..N.

    >>> nms(torch.tensor([[0, 0, 4, 4], [0, 1, 4, 5], [4, 4, 8, 8]]),
    ...     torch.tensor([[0.9, 0.8, 0.1]]), 2).tolist()
    [[0, 2]]
    """
    n = scores.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..N: got k={k} for N={n} windows")
    order = scores.sort(dim=1, descending=True, stable=True).indices
    rank = order.argsort(dim=1)  # (B, N), all different: 0 is the best
    suppressed = torch.zeros_like(rank, dtype=torch.bool)
    kept: list[Tensor] = []
    for _ in range(k):
        best = (rank + n * suppressed).argmin(dim=1)  # (B,)
        kept.append(best)
        suppressed |= iou(windows[best], windows) >= iou_threshold
        rank = rank.scatter(1, best[:, None], 2 * n)
    return torch.stack(kept, dim=1)
