"""Images as the backends read them, and the candidates that they read there together.

    image  ->  Stored: numbers and their tone  ->  Groups: windows of one size in them

An augmented image is read where it is stored, and its patches are mirrored instead of its pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal._float64 import moved
from foveal.images import Image, Images, TensorImage
from foveal.images.augmented import AugmentedImage, Tone

Side = tuple[int, int]


class Stored(NamedTuple):
    """Numbers (C, H, W) of any type and strides, and what they mean; all is zero outside them."""

    pixels: Tensor
    tone: Tone = Tone()


class Group(NamedTuple):
    """Candidates of one image whose windows have one size; all of an image without a tensor."""

    b: int
    stored: Stored | None
    members: slice | Int[Tensor, " n"]
    corners: Int[Tensor, "n 2"]
    side: Side


def pixels_of(image: Tensor | Image) -> Tensor | None:
    """The tensor of an image that has one, as it is stored."""
    if isinstance(image, AugmentedImage):
        image = image.source
    pixels = image.pixels if isinstance(image, TensorImage) else image
    return pixels.detach() if isinstance(pixels, Tensor) else None


def hold(images: Images, patches: Float[Tensor, "B K C h w"], crops: int) -> list[Tensor | None]:
    """The images' pixels on the device of their patches.

    None where there are none, or where they are elsewhere and the crops are fewer bytes to move.
    """
    held: list[Tensor | None] = []
    for image, like in zip(images, patches, strict=True):
        pixels = pixels_of(image)
        if pixels is not None and pixels.device != like.device:
            fewer = pixels.nbytes > crops * like[0].nbytes
            pixels = None if fewer else moved(pixels, like.device)
        held.append(pixels)
    return held


def oriented(image: Tensor | Image, pixels: Tensor | None, patches: Tensor) -> Tensor:
    """Patches of the pixels as patches of the image."""
    return image.oriented(patches) if _is_turned(image, pixels) else patches


def reoriented(image: Tensor | Image, pixels: Tensor | None, patches: Tensor) -> Tensor:
    """Patches of the image as patches of its pixels; the same object if nothing is turned."""
    return image.reoriented(patches).contiguous() if _is_turned(image, pixels) else patches


def _is_turned(image: Tensor | Image, pixels: Tensor | None) -> TypeGuard[AugmentedImage]:
    turned = isinstance(image, AugmentedImage) and (image.transpose or image.flips != ())
    return turned and pixels is not None


def common_sides(windows: Int[Tensor, "*B N 4"], batch: int) -> list[Side | None]:
    """The size of all windows of each image; None where they differ or one has none.

    Windows on the CPU are read without waiting for another device.
    """
    sides = windows[..., 2:] - windows[..., :2]
    first = sides[..., :1, :]
    same = ((sides == first) & (first > 0)).flatten(-2).all(dim=-1)  # *B
    rows = torch.cat((first[..., 0, :], same[..., None]), dim=-1).view(-1, 3).tolist()
    each = [(height, width) if equal else None for height, width, equal in rows]
    return each * batch if windows.ndim == 2 else each


def groups(
    images: Images,
    held: Sequence[Tensor | None],
    windows: Int[Tensor, "B M 4"],
    sides: Sequence[Side | None],
) -> Iterator[Group]:
    """The candidates by image and size of their windows.

    Args:
        images: the images.
        held: their pixels, see `hold`.
        windows: of their candidates.
        sides: see `common_sides`.

    Raises:
        ValueError: a window without height or width.
    """
    windows = windows.long()
    for b, (image, pixels, side) in enumerate(zip(images, held, sides, strict=True)):
        if side is None:
            _check(windows[b])
        if pixels is None:
            yield Group(b, None, slice(None), windows[b, :, :2], side or (0, 0))
            continue
        transposed = isinstance(image, AugmentedImage) and image.transpose
        for stored, members, near in _parts(image, pixels, windows[b]):
            if side is None:
                yield from _by_size(b, stored, members, near)
            else:
                corners = near[:, :2].contiguous()
                yield Group(b, stored, members, corners, side[::-1] if transposed else side)


def _check(windows: Int[Tensor, "M 4"]) -> None:
    bad = (windows[:, 2:] <= windows[:, :2]).any(dim=1)
    if bad.any():
        worst = tuple(windows[bad][0].tolist())
        raise ValueError(f"windows must end after they begin: got {worst}")


def _by_size(
    b: int, stored: Stored, members: slice | Int[Tensor, " n"], windows: Int[Tensor, "n 4"]
) -> Iterator[Group]:
    sides = windows[:, 2:] - windows[:, :2]
    distinct, number = torch.unique(sides, dim=0, return_inverse=True)
    for index, (height, width) in enumerate(distinct.tolist()):
        some = (number == index).nonzero().flatten()
        named = some if isinstance(members, slice) else members[some]
        yield Group(b, stored, named, windows[some, :2].contiguous(), (height, width))


def _parts(
    image: Tensor | Image, pixels: Tensor, windows: Int[Tensor, "M 4"]
) -> Iterator[tuple[Stored, slice | Int[Tensor, " n"], Int[Tensor, "n 4"]]]:
    """What adds up to an image: stored numbers, and candidates in them by number and place."""
    unit = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
    if not isinstance(image, AugmentedImage):
        yield Stored(pixels, Tone(unit)), slice(None), windows
        return
    windows, tone = image.in_source(windows), image.tone
    tone = tone._replace(scale=tone.scale * unit)
    rows, columns = (
        slice(max(0, -by), min(side, side - by))  # what stays in the image
        for by, side in zip(image.shift, pixels.shape[1:], strict=True)
    )
    top, left = rows.start, columns.start
    inner = _moved(windows, -top, -left)
    yield Stored(pixels[:, rows, columns], tone), slice(None), inner
    if tone.of_zero == 0 or image.shift == (0, 0):
        return
    # the zeros that came in have a colour: that of an image of ones, less that of its inner part
    members = _beyond(inner, (rows.stop - top, columns.stop - left))
    ones = torch.ones((), dtype=torch.uint8, device=pixels.device).expand(pixels.shape)
    outer = _moved(windows, *image.shift)
    yield Stored(ones, Tone(tone.of_zero)), members, outer[members]
    yield Stored(ones[:, rows, columns], Tone(-tone.of_zero)), members, inner[members]


def _beyond(windows: Int[Tensor, "M 4"], end: tuple[int, int]) -> slice | Int[Tensor, " n"]:
    """The windows that leave a rectangle from 0 to `end`; all where asking would mean waiting."""
    if windows.device.type != "cpu":
        return slice(None)
    top, left, bottom, right = windows.unbind(dim=1)
    beyond = (top < 0) | (left < 0) | (bottom > end[0]) | (right > end[1])
    return beyond.nonzero().flatten()


def _moved(windows: Int[Tensor, "M 4"], down: int, right: int) -> Int[Tensor, "M 4"]:
    rows, columns = windows[:, 0::2] + down, windows[:, 1::2] + right
    return torch.stack((rows, columns), dim=2).flatten(1)
