"""What predicting ever larger files, and training on them, costs: time, memory, bytes read.

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
from foveal.settings import Glances

Work = Literal["predict", "train"]


@dataclass(frozen=True)
class Cost:
    """What one piece of work on one file costs.

    Attributes:
        work: a prediction, which opens the file; or a step of training, which finds it open.
        megapixels: of the image.
        file_bytes: size of the file.
        seconds: median of the repetitions.
        resident_bytes: largest resident memory of the process, with Python, torch and the model.
        bytes_read: of the file, each time; None where the system does not count them.
    """

    work: Work
    megapixels: float
    file_bytes: int
    seconds: float
    resident_bytes: int
    bytes_read: int | None


def large(
    *,
    megapixels: tuple[int, ...] = (10, 100, 1000),
    run: Path | None = None,
    board: Path | None = None,
    view: tuple[int, int] = (512, 512),
    patch: int = 128,
    k: int = 8,
    glances: Glances = 1,
    repeats: int = 3,
    memory: str = "2GB",
    threads: int = 2,
    folder: Path | None = None,
) -> Costs:
    """Measure what predicting large files and training on them costs, each in a fresh process.

    The files are tiled TIFFs with pyramids, of a texture that repeats: 0.3 GB for a gigapixel. Time
    and memory are to follow the view and the patches, not the size of the image. A step of training
    is forward and backward of one image, shifted and coloured at random; a new model looks at most
    of the candidates.

    Args:
        megapixels: sizes of the images, several numbers.
        run: a trained run to measure, with the view, patch and k that it has (default: a new
            model).
        board: a clean image of DeepPCB that the texture is made of (default: a painted one).
        view: height and width of the new model's view.
        patch: side of its patches in pixels.
        k: number of its patches.
        glances: 2: it scores the best regions of its view again at a higher resolution.
        repeats: number of timed repetitions.
        memory: that training may keep tiles in, such as 2GB.
        threads: number of processor threads.
        folder: where the files are written, and kept (default: a temporary one).

    Raises:
        UserError: an option is out of range, or the run or the board cannot be read.
    """
    if not megapixels or min(*megapixels, patch, k, repeats, threads, *view) < 1:
        raise UserError("megapixels, view, patch, k, repeats and threads must be 1 or more")
    from foveal._processes import in_fresh_process
    from foveal.field.benchmark.large_cost import measure

    settings: dict[str, Any] = {"view": view, "patch": patch, "k": k, "glances": glances}
    model = {"run": run} if run is not None else settings
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        costs = list[Cost]()
        for area in megapixels:
            file = place / f"{area}_megapixels.tif"
            _write(file, area, board)
            order = {"file": file, "repeats": repeats, "threads": threads} | model
            for work in get_args(Work):
                costs.append(in_fresh_process(measure, order | {"work": work, "memory": memory}))
    return Costs(
        "large",
        "tiled TIFFs with pyramids",
        model | {"repeats": repeats, "memory": memory},
        clock.machine(threads, "cpu"),
        tuple(costs),
        _table(costs),
    )


def _table(costs: list[Cost]) -> tuple[str, ...]:
    """A line for every file and piece of work."""
    lines = [
        "| work | megapixels | file, MB | seconds | of the first | resident, MB | read |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cost in sorted(costs, key=lambda cost: (cost.work, cost.megapixels)):
        first = next(each for each in costs if each.work == cost.work)
        read = "" if cost.bytes_read is None else f"{cost.bytes_read / cost.file_bytes:.2%}"
        lines.append(
            f"| {cost.work} | {cost.megapixels:.0f} | {cost.file_bytes / 1e6:.0f} | "
            f"{cost.seconds:.2f} | {cost.seconds / first.seconds:.2f} | "
            f"{cost.resident_bytes / 1e6:.0f} | {read} |"
        )
    return tuple(lines)


def _write(file: Path, megapixels: int, board: Path | None) -> None:
    """Write a square image with a spot."""
    from foveal.field import gigapixel

    side = math.isqrt(megapixels * 10**6)
    texture = gigapixel.board_texture(board) if board else gigapixel.painted_texture()
    spot = gigapixel.spot(min(48, side))
    top, left = (int(share * (side - len(spot))) for share in (0.63, 0.22))
    paste = gigapixel.Paste(spot, top, left)
    gigapixel.write_pyramid(file, texture, (side, side), paste=paste)
