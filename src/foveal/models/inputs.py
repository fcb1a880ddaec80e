"""What models do first: take images of any kind and size, and place windows in each of them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal import windows as places
from foveal.images import Image, TensorImage


def sources(images: Tensor | Sequence[Tensor] | Sequence[Image], channels: int) -> list[Image]:
    """The images one by one.

    Args:
        images: (B, C, H, W), uint8 or in [0, 1], or a sequence of images of any sizes.
        channels: that the model sees.

    Raises:
        ValueError: another number of axes or channels.
    """
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W): got {tuple(images.shape)}")
    found: list[Image] = [
        TensorImage(image) if isinstance(image, Tensor) else image for image in images
    ]
    for image in found:
        if image.channels != channels:
            raise ValueError(f"the model sees {channels} channels: got {image.channels}")
    return found


def placed(
    images: Sequence[Image],
    place: Callable[[tuple[int, int]], Int[Tensor, "N 4"]],
    device: torch.device,
) -> Int[Tensor, "*B N 4"]:
    """The windows of every image: (N, 4) where all are of one size, else (B, N, 4).

    Args:
        images: of any sizes.
        place: from the size of an image to its windows, the same number for any.
        device: of the result.
    """
    sizes = [image.size for image in images]
    by_size = {size: place(size).to(device) for size in set(sizes)}
    if len(by_size) == 1:
        return by_size[sizes[0]]
    return torch.stack([by_size[size] for size in sizes])


def relative_centres(
    windows: Int[Tensor, "*B N 4"], images: Sequence[Image]
) -> Float[Tensor, "*B N 2"]:
    """The middle (y, x) of each window, as shares of its image's height and width."""
    sizes = torch.tensor([image.size for image in images], device=windows.device)
    if windows.ndim == 2:
        return places.centres(windows) / sizes[0]
    return places.centres(windows) / sizes[:, None]
