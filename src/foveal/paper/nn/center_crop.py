"""Resize and center-crop: the input of networks trained on cropped photographs.

Every image is resampled to `whole`, its aspect ignored, and the central `size` of that is kept;
both are (height, width) in pixels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Image
from foveal.windows import by_image_size


def views(
    images: Sequence[Image],
    whole: tuple[int, int],
    size: tuple[int, int],
    device: torch.device,
) -> Float[Tensor, "B C h w"]:
    """Return the center crop of every image, in [0, 1].

    Args:
        images: images with the same number of channels.
        whole: size that images are resampled to.
        size: size of the crop.
        device: device of the result.

    Raises:
        ValueError: the crop is larger than the whole.
    """
    top, left = corner(whole, size)
    crops = torch.empty(len(images), images[0].channels, *size, device=device)
    for crop, image in zip(crops, images, strict=True):
        crop.copy_(image.view(whole)[:, top : top + size[0], left : left + size[1]])
    return crops


def in_images(
    windows: Int[Tensor, "N 4"],
    sizes: Sequence[tuple[int, int]],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> Int[Tensor, "*B N 4"]:
    """Return where windows of the crop lie in the images, to the nearest pixel.

    Args:
        windows: top left bottom right in pixels of the crop.
        sizes: (H, W) of each image.
        whole: size that images are resampled to.
        size: size of the crop.

    Returns:
        (N, 4) if all images have one size, else (B, N, 4).
    """
    before = torch.tensor(corner(whole, size) * 2, device=windows.device)

    def scaled(image: tuple[int, int]) -> Int[Tensor, "N 4"]:
        scale = torch.tensor([s / w for s, w in zip(image, whole, strict=True)] * 2)
        return ((windows + before) * scale.to(windows.device)).round().long()

    return by_image_size(sizes, scaled)


def corner(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the top and left of the crop.

    Raises:
        ValueError: the crop is larger than the whole.
    """
    if size[0] > whole[0] or size[1] > whole[1]:
        raise ValueError(f"the crop must fit into the whole: got {size} px of {whole} px")
    return (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
