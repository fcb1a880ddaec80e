"""Sums of crops on a GPU, all images in one launch: what `eager` does for one window size.

A program of `weighted_sum` holds a part of an image's patches, all slots of it, and passes over the
candidates; one of `inner_products` holds a few candidates and passes over the patches. Augmented
images are read where they are stored. Without Triton, which comes with torch's CUDA builds on
Linux, or with FOVEAL_TRITON=0 in the environment, `AVAILABLE` is false.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.images import Image, Images
from foveal.images.augmented import AugmentedImage, Tone
from foveal.patches import eager
from foveal.patches.stored import Side, pixels_of
from foveal.topk.gpu import AVAILABLE

if AVAILABLE:
    import triton
    from triton import language as tl

# What `place` cannot place, one image after the other.
weighted_sum, inner_products, scatter_add = (
    eager.weighted_sum,
    eager.inner_products,
    eager.scatter_add,
)

_TYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SLOTS = 16  # at most, in one program
_HELD = 4096  # numbers that a program sums up
_CANDIDATES = 4  # of a program of inner products
_COPIED = 2**26  # numbers of the copies held at once


class Placed(NamedTuple):
    """Where the pixels of a batch of images lie, row and column being those of the images.

    Attributes:
        first: the pixels of one of them.
        places: place of row 0, column 0 and channel 0 from there; steps to the next channel, row
            and column; height and width; first and last row, first and last column that are known,
            the others being zero before the tone.
        tones: scale, offset, low, high, and what zero becomes.
    """

    first: Tensor
    places: Int[Tensor, "B 10"]
    tones: Float[Tensor, "B 5"]


def suits(device: torch.device) -> bool:
    """Whether the kernels run on the device."""
    return AVAILABLE and device.type == "cuda"


def reads(images: Images, sides: Sequence[Side | None], size: Side, device: torch.device) -> bool:
    """Whether the kernels read such images: tensors of one type on the device, and windows of the
    patches' size.

    Args:
        images: a batch.
        sides: of their windows, see `foveal.patches.stored.common_sides`.
        size: (h, w) of a patch.
        device: of the patches.
    """
    return _alike(images, device) is not None and all(side == size for side in sides)


def place(
    images: Images, sides: Sequence[Side | None], like: Float[Tensor, "B K C h w"]
) -> Placed | None:
    """How the kernels read the images for patches like these; None where they do not."""
    held = _alike(images, like.device)
    if held is None or any(side != (like.shape[3], like.shape[4]) for side in sides):
        return None
    first, places, tones = held[0], [], []
    for image, pixels in zip(images, held, strict=True):
        at, tone = _placed(image, pixels)
        at[0] += (pixels.data_ptr() - first.data_ptr()) // first.element_size()
        places.append(at)
        tones.append((*tone, tone.of_zero))
    # tables of less than 64 KiB are copied without waiting
    return Placed(
        first,
        torch.tensor(places).to(like.device, non_blocking=True),
        torch.tensor(tones, dtype=torch.float64).to(like.device, non_blocking=True),
    )


def _alike(images: Images, device: torch.device) -> list[Tensor] | None:
    """The images' pixels, if all are tensors of one type on the device."""
    held = list[Tensor]()
    for image in images:
        pixels = pixels_of(image)
        if pixels is None or pixels.device != device or pixels.dtype not in _TYPES:
            return None
        if held and pixels.dtype != held[0].dtype:
            return None
        held.append(pixels)
    return held or None


def _placed(image: Tensor | Image, pixels: Tensor) -> tuple[list[int], Tone]:
    """A row of `Placed.places`, from the pixels' own start, and the tone."""
    unit = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
    (_, *sides), (channel, *steps) = pixels.shape, pixels.stride()
    if not isinstance(image, AugmentedImage):
        return [0, channel, *steps, *sides, 0, sides[0], 0, sides[1]], Tone(unit)
    start, known = 0, []
    axes = [(-2, 1), (-1, 0)] if image.transpose else [(-2, 0), (-1, 1)]  # and stored axis
    for axis, stored in axes:
        side, shift = sides[stored], image.shift[stored]
        begin, end = max(0, shift), min(side, side + shift)  # what stays in the image
        start -= shift * steps[stored]
        if axis in image.flips:
            start += (side - 1) * steps[stored]
            begin, end = side - end, side - begin
        known += [begin, end]
    signed = [-steps[stored] if axis in image.flips else steps[stored] for axis, stored in axes]
    tone = image.tone
    places = [start, channel, *signed, *(sides[stored] for _, stored in axes), *known]
    return places, tone._replace(scale=tone.scale * unit)


def copies(images: Sequence[Image], device: torch.device) -> Iterator[Float[Tensor, "_b C _H _W"]]:
    """Images of one size on a GPU, a few at once, those that are augmented as they look.

    None at all where they differ in size or cannot be read there.
    """
    if not suits(device):
        return
    height, width = images[0].size
    sides = [image.size for image in images]
    if not reads(images, sides, (height, width), device):
        return

    at_once = max(1, _COPIED // (images[0].channels * height * width))
    for first in range(0, len(images), at_once):
        part = images[first : first + at_once]
        whole = torch.empty(len(part), 1, part[0].channels, height, width, device=device)
        placed = place(part, [(height, width)] * len(part), whole)
        assert placed is not None
        window = torch.tensor([[[0, 0, height, width]]]).to(device, non_blocking=True)
        placed_sum(placed, window.expand(len(part), 1, 4), whole.new_ones(len(part), 1, 1), whole)
        yield whole[:, 0]


def placed_sum(
    placed: Placed,
    windows: Int[Tensor, "B M 4"],
    weights: Float[Tensor, "B K M"],
    patches: Float[Tensor, "B K C h w"],
) -> None:
    """Fill the patches: patches[b, k] = sum_m weights[b, k, m] x crop of window m of image b."""
    batch, slots, channels, height, width = patches.shape
    held = min(_SLOTS, triton.next_power_of_2(slots))
    pixels = min(_HELD // 2 // held, triton.next_power_of_2(height * width))
    grid = (triton.cdiv(height * width, pixels), batch * channels, triton.cdiv(slots, held))
    _sum_kernel[grid](
        placed.first, placed.places, placed.tones, windows.contiguous(), weights.contiguous(),
        patches, windows.shape[1], slots, channels, height, width, held, pixels,
    )  # fmt: skip


def placed_products(
    placed: Placed,
    windows: Int[Tensor, "B M 4"],
    patches: Float[Tensor, "B K C h w"],
    into: Float[Tensor, "B K M"],
) -> None:
    """Fill with the inner products of each image's patches with its crops."""
    batch, slots, channels, height, width = patches.shape
    m = windows.shape[1]
    held = min(_SLOTS, triton.next_power_of_2(slots))
    pixels = min(_HELD // _CANDIDATES // held, triton.next_power_of_2(height * width))
    grid = (triton.cdiv(m, _CANDIDATES), batch, triton.cdiv(slots, held))
    _product_kernel[grid](
        placed.first, placed.places, placed.tones, windows.contiguous(), patches, into, m, slots,
        channels, height, width, held, pixels, _CANDIDATES,
    )  # fmt: skip


if AVAILABLE:

    @triton.jit
    @no_type_check
    def _numbers(places_at, tones_at, image, number: tl.constexpr):
        """An image's row of both tables, read once."""
        places_at += image * 10
        tones_at += image * 5
        steps = (
            tl.load(places_at),
            tl.load(places_at + 1),
            tl.load(places_at + 2),
            tl.load(places_at + 3),
        )
        size = tl.load(places_at + 4), tl.load(places_at + 5)
        rows = tl.load(places_at + 6), tl.load(places_at + 7)
        columns = tl.load(places_at + 8), tl.load(places_at + 9)
        scale, offset = tl.load(tones_at).to(number), tl.load(tones_at + 1).to(number)
        low, high = tl.load(tones_at + 2).to(number), tl.load(tones_at + 3).to(number)
        of_zero = tl.load(tones_at + 4).to(number)
        return steps, size, rows, columns, (scale, offset, low, high, of_zero)

    @triton.jit
    @no_type_check
    def _read(pixels_at, numbers, y, x, channel, inside, number: tl.constexpr):
        """Pixels of an image at rows y and columns x, where they are inside the patch."""
        steps, size, rows, columns, tone = numbers
        inside &= (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
        known = (y >= rows[0]) & (y < rows[1]) & (x >= columns[0]) & (x < columns[1])
        at = steps[0] + channel * steps[1] + y * steps[2] + x * steps[3]
        stored = tl.load(pixels_at + at, inside & known, 0).to(number)
        toned = tl.minimum(tl.maximum(stored * tone[0] + tone[1], tone[2]), tone[3])
        return tl.where(inside, tl.where(known, toned, tone[4]), 0.0)

    @triton.jit
    @no_type_check
    def _sum_kernel(
        pixels_at, places_at, tones_at, windows_at, weights_at, into, m, slots, channels, height,
        width, SLOTS: tl.constexpr, PIXELS: tl.constexpr,
    ):  # fmt: skip
        number: tl.constexpr = into.dtype.element_ty
        image = (tl.program_id(1) // channels).to(tl.int64)
        channel = tl.program_id(1) % channels
        slot = tl.program_id(2) * SLOTS + tl.arange(0, SLOTS)
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
        row, column = pixel // width, pixel % width
        inside = row < height
        windows_at += image * m * 4
        weights_at += image * slots * m
        numbers = _numbers(places_at, tones_at, image, number)
        total = tl.zeros((SLOTS, PIXELS), number)
        for i in range(m):
            y, x = tl.load(windows_at + i * 4) + row, tl.load(windows_at + i * 4 + 1) + column
            seen = _read(pixels_at, numbers, y, x, channel, inside, number)
            weight = tl.load(weights_at + slot * m + i, slot < slots, 0.0).to(number)
            total += weight[:, None] * seen[None, :]
        into += (image * slots * channels + channel) * height * width
        at = slot[:, None] * channels * height * width + pixel[None, :]
        tl.store(into + at, total, (slot < slots)[:, None] & inside[None, :])

    @triton.jit
    @no_type_check
    def _product_kernel(
        pixels_at, places_at, tones_at, windows_at, patches_at, into, m, slots, channels, height,
        width, SLOTS: tl.constexpr, PIXELS: tl.constexpr, CANDIDATES: tl.constexpr,
    ):  # fmt: skip
        number: tl.constexpr = patches_at.dtype.element_ty
        image = tl.program_id(1).to(tl.int64)
        slot = tl.program_id(2) * SLOTS + tl.arange(0, SLOTS)
        i = tl.program_id(0) * CANDIDATES + tl.arange(0, CANDIDATES)
        windows_at += image * m * 4
        top = tl.load(windows_at + i * 4, i < m, 0)
        left = tl.load(windows_at + i * 4 + 1, i < m, 0)
        patches_at += image * slots * channels * height * width
        numbers = _numbers(places_at, tones_at, image, number)
        total = tl.zeros((SLOTS, CANDIDATES, PIXELS), number)
        for channel in range(channels):
            for first in range(0, height * width, PIXELS):
                pixel = first + tl.arange(0, PIXELS)
                row, column = pixel // width, pixel % width
                inside = (row < height)[None, :] & (i < m)[:, None]
                y, x = top[:, None] + row[None, :], left[:, None] + column[None, :]
                seen = _read(pixels_at, numbers, y, x, channel, inside, number)
                at = (slot[:, None] * channels + channel) * height * width + pixel[None, :]
                held = (slot < slots)[:, None] & (row < height)[None, :]
                patch = tl.load(patches_at + at, held, 0.0)
                total += patch[:, None, :] * seen[None, :, :]
        products = tl.sum(total, axis=2)
        at = (image * slots + slot[:, None]) * m + i[None, :]
        tl.store(into + at, products, (slot < slots)[:, None] & (i < m)[None, :])
