"""The middle of an image at a fixed size: what networks trained on cropped photographs look at.

Every image is resampled to `whole`, its aspect ignored, and the middle `size` of that is kept; both
are (height, width) in pixels.
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
    """The middle of every image, in [0, 1].

    Args:
        images: of equally many channels.
        whole: see above.
        size: see above.
        device: of the result.

    Raises:
        ValueError: the middle is larger than the whole.
    """
    top, left = corner(whole, size)
    found = torch.empty(len(images), images[0].channels, *size, device=device)
    for view, image in zip(found, images, strict=True):
        view.copy_(image.view(whole)[:, top : top + size[0], left : left + size[1]])
    return found


def in_images(
    windows: Int[Tensor, "N 4"],
    sizes: Sequence[tuple[int, int]],
    whole: tuple[int, int],
    size: tuple[int, int],
) -> Int[Tensor, "*B N 4"]:
    """Where windows of the view lie in the images, to the nearest pixel.

    Args:
        windows: top left bottom right in pixels of the view.
        sizes: (H, W) of each image.
        whole: see above.
        size: see above.

    Returns:
        (N, 4) where all images have one size, else (B, N, 4).
    """
    before = torch.tensor(corner(whole, size) * 2, device=windows.device)

    def placed(image: tuple[int, int]) -> Int[Tensor, "N 4"]:
        scale = torch.tensor([s / w for s, w in zip(image, whole, strict=True)] * 2)
        return ((windows + before) * scale.to(windows.device)).round().long()

    return by_image_size(sizes, placed)


def corner(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Top and left of the middle.

    Raises:
        ValueError: the middle is larger than the whole.
    """
    if size[0] > whole[0] or size[1] > whole[1]:
        raise ValueError(f"the middle must fit into the whole: got {size} px of {whole} px")
    return (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
