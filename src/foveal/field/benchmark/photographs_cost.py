"""One way from a photograph to a prediction, in a process of its own."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from foveal.errors import UserError
from foveal.evaluation import predict
from foveal.field.benchmark.photographs import Way
from foveal.images import read
from foveal.models import patch_classifier
from foveal.nn.encoders import Backbone
from foveal.paper.benchmark.peak import high_water
from foveal.runs.inputs import list_images
from foveal.settings import Size

_AT_ONCE = 32  # windows


def measure(
    *,
    way: Way,
    file: Path,
    repeats: int,
    threads: int,
    encoder: str,
    view: Size,
    patch: int,
    k: int,
) -> tuple[float, int]:
    """Predict a photograph in this process.

    Args:
        way: to the prediction.
        file: a JPEG.
        repeats: number of timed repetitions.
        threads: number of processor threads.
        encoder: timm network.
        view: height and width of the view.
        patch: side of a patch, or of a window, in pixels.
        k: number of patches.

    Returns:
        Seconds from opening the file to the prediction, the median, and bytes of resident memory at
        their highest.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if way in ("windows", "decoded"):
        run = _foveal(encoder, view, patch, k)
    else:
        run = _encoder(encoder, patch if way == "sliding" else None)
    is_lazy = way == "windows"
    run(torch.zeros(3, 2 * patch, 2 * patch, dtype=torch.uint8))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run(file if is_lazy else read(file))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), high_water()


def _foveal(encoder: str, view: Size, patch: int, k: int) -> Callable[[Any], None]:
    model = patch_classifier(encoder, classes=2, view=view, patch=patch, k=k, scorer=encoder)

    def run(source: Any) -> None:
        (result,) = predict(model, list_images(source), ("0", "1"), 1)
        if result.error is not None:
            raise UserError(result.error)

    return run


def _encoder(name: str, side: int | None) -> Callable[[Any], None]:
    """The encoder on windows of a side, as many at once as of images, or on the whole image."""
    network = Backbone(name).eval()

    @torch.inference_mode()
    def run(image: UInt8[Tensor, "3 H W"]) -> None:
        if side is None:
            network(image[None] / 255)
            return
        corners = [
            (top, left)
            for top in range(0, image.shape[1] - side + 1, side)
            for left in range(0, image.shape[2] - side + 1, side)
        ]
        for first in range(0, len(corners), _AT_ONCE):
            some = corners[first : first + _AT_ONCE]
            windows = [image[:, top : top + side, left : left + side] for top, left in some]
            network(torch.stack(windows) / 255)

    return run
