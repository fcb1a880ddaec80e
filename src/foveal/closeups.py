"""Patches from windows of a few sizes: the same as `patches.extract`, in less time.

Resampling is linear, so a slot's windows of one size are summed at their own resolution and the sum
is resampled, once a slot and size instead of once a candidate:

    patches[b, j] = sum_size resample( sum_{m of that size} weights[b, j, m] x crop at m )
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, pad

from foveal import patches
from foveal.topk import Selection


def extract(
    images: Float[Tensor, "B C H W"],
    windows: Int[Tensor, "N 4"],
    selection: Selection,
    size: tuple[int, int],
) -> Float[Tensor, "B K C h w"]:
    """Cut out what the slots look at, differentiable in the weights.

    Time and memory, forward and backward, follow the candidates in reach, and B K resamplings for
    every size that occurs among them.

    Args:
        images: floats in [0, 1].
        windows: top left bottom right in pixels. Outside the image there are zeros.
        selection: over these windows.
        size: (h, w) of a patch. Windows of another size are resampled to it, with antialiasing.

    Returns:
        Patches in [0, 1], in the type of the images.

    References:
        Cordonnier et al., CVPR 2021: its released code for birds sums and resamples in this order.
    """
    batch, slots = selection.weights.shape[:2]
    # Cutting inside a black frame is slicing; cutting over the border is a loop.
    images, windows = _framed(images, windows.to(images.device))
    shapes, kind = torch.unique(windows[:, 2:] - windows[:, :2], dim=0, return_inverse=True)
    kinds = kind[selection.candidates]  # (B, M)
    found = images.new_zeros(batch, slots, images.shape[1], *size)
    for number, shape in enumerate(shapes.tolist()):
        part = _only(selection, kinds == number, kind == number)
        if part is None:
            continue
        cut = patches.extract(images, windows, part, (shape[0], shape[1]))
        if cut.shape[-2:] == size:
            found = found + cut
            continue
        resampled = interpolate(cut.flatten(0, 1), size, mode="bilinear", antialias=True)
        found = found + resampled.view_as(found)
    return found


def _framed(
    images: Float[Tensor, "B C H W"], windows: Int[Tensor, "N 4"]
) -> tuple[Float[Tensor, "B C G V"], Int[Tensor, "N 4"]]:
    """Images in a black frame so wide that no window overhangs, and the windows in it."""
    height, width = images.shape[2:]
    before = (-windows[:, :2].amin(dim=0)).clamp(min=0)
    end = torch.tensor([height, width], device=windows.device)
    after = (windows[:, 2:].amax(dim=0) - end).clamp(min=0)
    (top, left), (bottom, right) = before.tolist(), after.tolist()
    return pad(images, (left, right, top, bottom)), windows + before.repeat(2)


def _only(
    selection: Selection, among: Bool[Tensor, "B M"], every: Bool[Tensor, "N"]
) -> Selection | None:
    """The part of a selection that lies among some candidates, or None where there are none.

    Shorter rows are filled up with the first window of that kind, at weight 0.
    """
    most = int(among.sum(dim=1).max())
    if most == 0:
        return None
    real, index = among.long().sort(dim=1, descending=True, stable=True)
    real, index = real[:, :most].bool(), index[:, :most]
    some = int(every.nonzero()[0])
    candidates = selection.candidates.gather(1, index).masked_fill(~real, some)
    weights = selection.weights.gather(2, index[:, None].expand(-1, selection.slots, -1))
    return Selection(candidates, weights * real[:, None])
