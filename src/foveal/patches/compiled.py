"""Sums of crops on the CPU in compiled loops that never hold a crop: what `eager` does, faster.

The work is split by image, channel and strip of rows over torch's threads; see src/native.

Measured (one core of an AMD EPYC at 2 GHz, seconds for the sums of K slots of 100 px over the 3249
windows of stride 16 in 3 x 1000 x 1000 pixels, M of them active), against the two other ways:

    K, M                                          10, 640   10, 3249   50, 3249
    this module                                     0.02      0.11       0.53
    crops gathered and multiplied, see `eager`      0.07      0.28       0.53
    convolution of dilation 16 by 49 products       0.24      0.24       0.52

The convolution nowhere wins by more than a tenth, so foveal does without it.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from foveal._pointers import address
from foveal._threads import Task, run_tasks
from foveal.patches.stored import Stored

try:
    from foveal import _native
except ImportError:  # installed without a compiler
    AVAILABLE = False
else:
    AVAILABLE = True

_KINDS = {torch.uint8: 0, torch.float32: 1, torch.float64: 2}
_WEIGHTED_SUM, _INNER_PRODUCTS, _SCATTER_ADD = range(3)
# Size of a strip of all slots, unless one row is larger: half of the L1 cache.
_STRIP_BYTES = 2**14
# Parts of the work per thread, so that none waits long for the last.
_PARTS = 4

Tensors = Sequence[Tensor]


def supports(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether images can be read here: on the CPU, in uint8, float32 or float64."""
    return AVAILABLE and device.type == "cpu" and dtype in _KINDS


def weighted_sum(
    images: Sequence[Stored], corners: Tensors, weights: Tensors, patches: Tensors
) -> None:
    """Add to each image's patches its crops: patches[k] += sum_m weights[k, m] x crop_m.

    Args:
        images: each (C, H, W), uint8 or float, with any strides.
        corners: each Int (M, 2), top and left.
        weights: each (K, M), of the patches' type; zeros cost nothing.
        patches: each (K, C, h, w), contiguous, float32 or float64.
    """
    tasks: list[Task] = []
    for image, corner, weight, out in zip(images, corners, weights, patches, strict=True):
        used = weight.any(dim=0)
        factors = _padded(weight[:, used])
        part = partial(_crops, _WEIGHTED_SUM, image, corner[used], out, weights=factors)
        tasks += [partial(part, *units) for units in _parts(out, len(images))]
    run_tasks(tasks)


def inner_products(images: Sequence[Stored], corners: Tensors, patches: Tensors) -> list[Tensor]:
    """The inner products (K, M), float64, of each image's patches with its crops."""
    ends, tasks = [], list[Task]()
    for image, corner, incoming in zip(images, corners, patches, strict=True):
        # repeated windows, which pad a selection, are multiplied once
        distinct, number = torch.unique_consecutive(corner, dim=0, return_inverse=True)
        dots = []
        for units in _parts(incoming, len(images)):
            into = _padded(torch.zeros(len(incoming), len(distinct), dtype=torch.float64))
            dots.append(into)
            part = partial(_crops, _INNER_PRODUCTS, image, distinct, incoming, dots=into)
            tasks.append(partial(part, *units))
        ends.append((dots, len(incoming), number))
    run_tasks(tasks)
    return [torch.stack(dots).sum(dim=0)[:slots, number] for dots, slots, number in ends]


def scatter_add(images: Tensors, corners: Tensors, weights: Tensors, patches: Tensors) -> None:
    """Add to each image what its crops receive: crop_m += sum_k weights[k, m] x patches[k]."""
    tasks: list[Task] = []
    for image, corner, weight, incoming in zip(images, corners, weights, patches, strict=True):
        into = Stored(image)
        part = partial(_crops, _SCATTER_ADD, into, corner, incoming, weights=_padded(weight))
        # crops overlap: a channel belongs to one thread
        ((strip, _, units),) = _parts(incoming, len(images), threads=1)
        each = units // len(image)
        tasks += [partial(part, strip, at, at + each) for at in range(0, units, each)]
    run_tasks(tasks)


def _crops(
    operation: int,
    image: Stored,
    corners: Tensor,
    patches: Tensor,
    rows: int,
    first: int,
    last: int,
    *,
    weights: Tensor | None = None,
    dots: Tensor | None = None,
) -> None:
    """Work on the units first .. last; a unit is `rows` rows of all slots in one channel."""
    corners = corners.contiguous()
    factors = next(each for each in (weights, dots) if each is not None)
    pixels = image.pixels
    (_, height, width), (channel, row, column) = pixels.shape, pixels.stride()
    slots, channels, h, w = patches.shape
    _native.crops(
        operation, address(pixels), _KINDS[pixels.dtype], height, width, channel, row, column,
        *image.tone, len(corners), address(corners), _address(weights), _address(dots),
        factors.shape[1], address(patches), patches.dtype == torch.float64, slots, channels, h, w,
        rows, first, last,
    )  # fmt: skip


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else address(tensor)


def _padded(weights: Float[Tensor, "K M"]) -> Tensor:
    """Padded with zeros to an even number of slots and a multiple of four candidates."""
    slots, candidates = weights.shape
    return torch.nn.functional.pad(weights, (0, -candidates % 4, 0, slots % 2)).contiguous()


def _parts(patches: Tensor, images: int, threads: int | None = None) -> list[tuple[int, int, int]]:
    """The strip's rows, and the first and last unit, of each part of an image's work."""
    slots, channels, height, width = patches.shape
    strip = _STRIP_BYTES // (slots * width * patches.element_size())
    strip = max(1, min(height, strip))
    units = channels * -(-height // strip)
    threads = threads or torch.get_num_threads()
    parts = 1 if threads == 1 else min(units, -(-_PARTS * threads // images))
    bounds = [units * part // parts for part in range(parts + 1)]
    return [(strip, first, last) for first, last in pairwise(bounds)]
