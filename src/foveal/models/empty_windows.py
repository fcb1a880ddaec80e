"""Windows that hold nothing: pixels without data, or the plain background of a slide.

    views (B, C, h, w), windows (N, 4) or (B, N, 4)  ->  empty (B, N)

A window is empty if the view shows nothing in any pixel under it. So it costs no further look into
an image, and what the view shows is never left out.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from foveal.images import Image, nodata_of
from foveal.images.emptiness import shows_something
from foveal.settings import Mask

_BELOW = 0.01  # of the range of the scores: so far below all others are empty windows


def empty_windows(
    images: Sequence[Image],
    views: Float[Tensor, "B C h w"],
    covered: Sequence[tuple[int, int]],
    windows: Int[Tensor, "*B N 4"],
    mask: Mask,
) -> Bool[Tensor, "B N"] | None:
    """Find the windows that hold nothing.

    Args:
        images: of any sizes.
        views: the images, small.
        covered: (height, width) of each image in its view.
        windows: top left bottom right in pixels of the images.
        mask: what counts as nothing; background includes what has no data.

    Returns:
        None if no window is empty because nothing is masked, or no image states a colour.
    """
    if mask == "none":
        return None
    colours = [nodata_of(image) for image in images]
    if mask == "nodata" and all(colour is None for colour in colours):
        return None
    found = []
    for b, (image, (height, width)) in enumerate(zip(images, covered, strict=True)):
        view = views[b, :, :height, :width].detach()
        shown = shows_something(view, colours[b], background=mask == "background")
        found.append(~_any_in(shown, windows if windows.ndim == 2 else windows[b], image.size))
    return torch.stack(found)


def candidates_of(
    inside: Bool[Tensor, "*one_or_B N"], empty: Bool[Tensor, "B N"]
) -> Bool[Tensor, "B N"]:
    """The windows inside their image that hold something; where none does, all inside."""
    holding = inside & ~empty
    return torch.where(holding.any(dim=1, keepdim=True), holding, inside)


def mask_empty(
    scores: Float[Tensor, "B N"], candidates: Bool[Tensor, "B N"]
) -> Float[Tensor, "B N"]:
    """Lower the scores of all but the candidates below those of the candidates, without gradient.

    `mask_padding` alone lowers them to the lowest candidate, which may then be passed over.
    """
    lowest = torch.where(candidates, scores, torch.inf).amin(dim=1, keepdim=True)
    highest = torch.where(candidates, scores, -torch.inf).amax(dim=1, keepdim=True)
    below = lowest - _BELOW * (highest - lowest) - 1e-5
    return torch.where(candidates, scores, below.detach())


def _any_in(
    shown: Bool[Tensor, "h w"], windows: Int[Tensor, "N 4"], size: tuple[int, int]
) -> Bool[Tensor, " N"]:
    """Whether windows of an image of this size see a pixel that is shown."""
    end = torch.tensor(shown.shape)
    scale = end / torch.tensor(size, dtype=torch.float64)
    corners = windows.cpu().view(-1, 2, 2)
    first = (corners[:, 0] * scale).floor().long().clamp(min=0).minimum(end - 1)
    last = (corners[:, 1] * scale).ceil().long().minimum(end).maximum(first + 1)
    top, left, bottom, right = torch.cat((first, last), dim=1).to(shown.device).unbind(dim=1)
    # of each corner, how many are shown above and left of it
    count = pad(shown.long(), (1, 0, 1, 0)).cumsum(dim=0).cumsum(dim=1)
    inside = count[bottom, right] - count[top, right] - count[bottom, left] + count[top, left]
    return inside > 0
