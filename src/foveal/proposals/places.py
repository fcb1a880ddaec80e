"""Cells of a map as windows of its image, and images as a trunk takes them."""

import torch
from jaxtyping import Int
from torch import Tensor

from foveal.images import FileImage, Image, TensorImage, nodata_of, read, sources
from foveal.proposals.trunk import Trunk


def windows_about(
    cells: Int[Tensor, "n 2"], trunk: Trunk, patch: tuple[int, int], size: tuple[int, int]
) -> Int[Tensor, "n 4"]:
    """Windows of the patch size about the pixels that made cells, moved into the image."""
    extent = torch.tensor(size, device=cells.device)
    side = torch.tensor(patch, device=cells.device).minimum(extent)
    points = trunk.offset + trunk.stride * cells.float()
    top_left = (points - side / 2).round().long()
    top_left = top_left.clamp(min=0).minimum(extent - side)
    return torch.cat((top_left, top_left + side), dim=1)


def single(image: Image | Tensor, channels: int | None) -> Image:
    """An image as a trunk of so many channels takes it.

    A file is read for this use, and not kept; a large one is read piece by piece, if it can be.
    """
    if isinstance(image, FileImage) and not (image.in_parts and image.is_large):
        image = TensorImage(read(image.path), nodata_of(image))
    elif isinstance(image, Tensor):
        image = TensorImage(image)
    return sources([image], channels or image.channels)[0]
