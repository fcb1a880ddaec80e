"""From the bytes of a photograph to a prediction: what foveal costs, and what stands beside it.

Importing this does not import torch.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from foveal.errors import UserError
from foveal.field.benchmark.costs import Costs
from foveal.paper.benchmark import clock
from foveal.settings import Size

Way = Literal["windows", "decoded", "sliding", "whole"]
_WORDS = {
    "windows": "foveal, from the file",
    "decoded": "foveal, from decoded pixels",
    "sliding": "the encoder on all windows",
    "whole": "the encoder on the whole image",
}


@dataclass(frozen=True)
class Cost:
    """What one way to a prediction costs.

    Attributes:
        way: to the prediction.
        megapixels: of the photograph.
        seconds: median of the repetitions, from opening the file to the prediction; None where
            memory did not suffice.
        resident_bytes: largest resident memory of the process, with Python, torch and the model.
    """

    way: Way
    megapixels: float
    seconds: float | None
    resident_bytes: int | None


def photographs(
    *,
    megapixels: tuple[int, ...] = (12, 50),
    encoder: str = "resnet50",
    view: Size = (458, 610),
    patch: int = 128,
    k: int = 10,
    ways: tuple[Way, ...] = get_args(Way),
    repeats: int = 3,
    threads: int = 2,
) -> Costs:
    """Measure what a prediction from a JPEG costs, and the same encoder on all of it.

    Photographs of a painted texture, 4 to 3, are saved as JPEG. Each way works in a process of its
    own, with one network of the same kind for patches, windows or image: foveal from the file; from
    pixels that were decoded as a whole; the encoder on all windows of the patch's size, side by
    side; and the encoder on the whole image. The windows are scored by the first layers of the same
    network on the view. Weights are random: time and memory do not depend on them.

    Args:
        megapixels: sizes of the photographs, several numbers.
        encoder: timm network.
        view: height and width of the view.
        patch: side of a patch, and of a window, in pixels.
        k: number of patches.
        ways: what is measured, several names.
        repeats: number of timed repetitions.
        threads: number of processor threads.

    Raises:
        UserError: an option is out of range, or there is no such network.
    """
    if not (megapixels and ways) or min(*megapixels, patch, k, repeats, threads, *view) < 1:
        raise UserError("megapixels, view, patch, k, ways, repeats and threads must be 1 or more")
    from foveal._processes import ProcessFailed, in_fresh_process
    from foveal.field.benchmark.photographs_cost import measure

    settings: dict[str, Any] = {"encoder": encoder, "view": view, "patch": patch, "k": k}
    costs = list[Cost]()
    with tempfile.TemporaryDirectory() as folder:
        for area in megapixels:
            file = _write(Path(folder), area)
            for way in ways:
                order = {"way": way, "file": file, "repeats": repeats, "threads": threads}
                seconds, resident = None, None
                try:
                    seconds, resident = in_fresh_process(measure, order | settings)
                except ProcessFailed as failed:
                    if failed.status != -9:  # killed, for lack of memory
                        raise
                costs.append(Cost(way, float(area), seconds, resident))
    return Costs(
        "photographs",
        "from a JPEG to a prediction",
        settings | {"repeats": repeats},
        clock.machine(threads, "cpu"),
        tuple(costs),
        _table(costs),
    )


def _table(costs: list[Cost]) -> tuple[str, ...]:
    """A line for every way and size."""
    lines = [
        "| megapixels | way | seconds | of the first | resident, MB |",
        "|---:|---|---:|---:|---:|",
    ]
    for cost in costs:
        figures = "no memory | |"
        if cost.seconds is not None and cost.resident_bytes is not None:
            first = next(each for each in costs if each.megapixels == cost.megapixels).seconds
            ratio = cost.seconds / (first or math.nan)
            figures = f"{cost.seconds:.2f} | {ratio:.1f} | {cost.resident_bytes / 1e6:.0f}"
        lines.append(f"| {cost.megapixels:.0f} | {_WORDS[cost.way]} | {figures} |")
    return tuple(lines)


def _write(folder: Path, megapixels: int) -> Path:
    """Write a photograph of 4 to 3."""
    import numpy as np
    import PIL.Image

    from foveal.field.gigapixel import painted_texture

    width = round(math.sqrt(megapixels * 1e6 * 4 / 3))
    height = round(width * 3 / 4)
    texture = painted_texture()
    repeated = (math.ceil(height / len(texture)), math.ceil(width / len(texture)), 1)
    pixels = np.tile(texture, repeated)[:height, :width]
    file = folder / f"{megapixels}_megapixels.jpg"
    PIL.Image.fromarray(pixels).save(file, quality=90)
    return file
