"""The grid of windows of the paper's code."""

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.windows import grid


def cordonnier_grid(
    image_size: tuple[int, int], grid_size: tuple[int, int], patch_size: tuple[int, int]
) -> Int[Tensor, "N 4"]:
    """The grid of the paper's code, for comparison: integer strides from the top left corner.

    With the paper's scorer a patch lies 12 px (traffic signs) to 15 px (billiards) off the pixels
    that gave its score; `foveal.models.PatchClassifier` therefore centres windows on the scorer's
    own cells.

    References:
        Cordonnier et al., CVPR 2021; released code, `extract_patches_from_indicators`.
    """
    stride = torch.tensor([image_size[0] // grid_size[0], image_size[1] // grid_size[1]])
    corner = -torch.div(torch.tensor(patch_size) - stride, 2, rounding_mode="floor")
    top_left = grid(corner.double(), stride.double(), grid_size).long()
    return torch.cat((top_left, top_left + torch.tensor(patch_size)), dim=1)
