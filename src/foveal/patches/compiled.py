"""Sums of crops on a processor in compiled loops that never hold a crop: what `eager` does, faster.

Images, their channels and strips of rows are shared among torch's threads; see src/native.

Measured (one core of an AMD EPYC at 2 GHz, seconds for the sums of K slots of 100 px over the 3249
windows of stride 16 in 3 x 1000 x 1000 pixels, M of them in reach), beside the two other ways:

    K, M                                          10, 640   10, 3249   50, 3249
    here                                            0.02      0.11       0.53
    crops gathered and multiplied, see `eager`      0.07      0.28       0.53
    convolution of dilation 16 by 49 products       0.24      0.24       0.52

So nothing else is kept: nowhere does the convolution win by more than a tenth.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from foveal._threads import Task, run

try:
    from foveal import _native
except ImportError:  # no compiler when foveal was installed
    AVAILABLE = False
else:
    AVAILABLE = True

_KINDS = {torch.uint8: 0, torch.float32: 1, torch.float64: 2}
_SUMS, _PRODUCTS, _SPREAD = range(3)
# A strip of all slots takes this, or one row: half of a processor's nearest cache.
_STRIP_BYTES = 2**14
# Parts of the work for each thread, so that none waits long for the last.
_PARTS = 4

Tensors = Sequence[Tensor]


def takes(image: Tensor) -> bool:
    """Whether an image can be read here: on the processor, in bytes, float32 or float64."""
    return AVAILABLE and image.device.type == "cpu" and image.dtype in _KINDS


def sums(images: Tensors, corners: Tensors, weights: Tensors, patches: Tensors) -> None:
    """Add to each image's patches its crops: patches[k] += sum_m weights[k, m] x crop_m.

    Args:
        images: each (C, H, W), bytes or floats, in any order of memory.
        corners: each Int (M, 2), top and left.
        weights: each (K, M), of the patches' type; what is zero costs nothing.
        patches: each (K, C, h, w), contiguous, float32 or float64.
    """
    tasks: list[Task] = []
    for image, corner, weight, out in zip(images, corners, weights, patches, strict=True):
        near = weight.any(dim=0)
        part = partial(_crops, _SUMS, image, corner[near], out, weights=_even(weight[:, near]))
        tasks += [partial(part, *units) for units in _parts(out, len(images))]
    run(tasks)


def products(images: Tensors, corners: Tensors, patches: Tensors) -> list[Tensor]:
    """The products (K, M), float64, of each image's patches with its crops."""
    ends, tasks = [], list[Task]()
    for image, corner, incoming in zip(images, corners, patches, strict=True):
        # windows that repeat, as those do that fill up a selection, are multiplied once
        near, number = torch.unique_consecutive(corner, dim=0, return_inverse=True)
        dots = []
        for units in _parts(incoming, len(images)):
            dots.append(_even(torch.zeros(len(incoming), len(near), dtype=torch.float64)))
            tasks.append(partial(_crops, _PRODUCTS, image, near, incoming, *units, dots=dots[-1]))
        ends.append((dots, len(incoming), number))
    run(tasks)
    return [torch.stack(dots).sum(dim=0)[:slots, number] for dots, slots, number in ends]


def spread(images: Tensors, corners: Tensors, weights: Tensors, patches: Tensors) -> None:
    """Add to each image what its crops receive: crop_m += sum_k weights[k, m] x patches[k]."""
    tasks: list[Task] = []
    for image, corner, weight, incoming in zip(images, corners, weights, patches, strict=True):
        part = partial(_crops, _SPREAD, image, corner, incoming, weights=_even(weight))
        # crops overlap: a channel belongs to one thread
        ((strip, _, units),) = _parts(incoming, len(images), threads=1)
        each = units // len(image)
        tasks += [partial(part, strip, at, at + each) for at in range(0, units, each)]
    run(tasks)


def _crops(
    what: int,
    image: Tensor,
    corners: Tensor,
    patches: Tensor,
    rows: int,
    first: int,
    last: int,
    *,
    weights: Tensor | None = None,
    dots: Tensor | None = None,
) -> None:
    """The units first .. last, a unit being so many rows of all slots in one channel."""
    corners = corners.contiguous()
    factors = next(each for each in (weights, dots) if each is not None)
    (_, height, width), (channel, row, column) = image.shape, image.stride()
    slots, channels, h, w = patches.shape
    _native.crops(
        what, image.data_ptr(), _KINDS[image.dtype], height, width, channel, row, column,
        len(corners), corners.data_ptr(), _address(weights), _address(dots), factors.shape[1],
        patches.data_ptr(), patches.dtype == torch.float64, slots, channels, h, w,
        rows, first, last,
    )  # fmt: skip


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _even(weights: Float[Tensor, "K M"]) -> Tensor:
    """Filled up with zeros to an even number of slots, and of candidates to a multiple of four."""
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
