"""What the prediction of ever larger files costs: time, memory, and how much of a file is read.

Importing this does not import torch.
"""

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.paper.benchmark import clock


@dataclass(frozen=True)
class Cost:
    """One prediction of one file.

    Attributes:
        megapixels: of the image.
        file_bytes: size of the file.
        seconds: median of the predictions, each of which opens the file.
        resident_bytes: largest resident memory of the process, with Python, torch and the model.
        bytes_read: of the file, by one prediction; None where the system does not count them.
        found: whether a window lies on the spot that was pasted into the image.
    """

    megapixels: float
    file_bytes: int
    seconds: float
    resident_bytes: int
    bytes_read: int | None
    found: bool


@dataclass(frozen=True)
class Costs:
    """What was asked, where it was measured, and the figures; prints as Markdown."""

    settings: dict[str, Any]
    machine: str
    costs: tuple[Cost, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "large"} | asdict(self)

    def __str__(self) -> str:
        """A Markdown table, a line for every file."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"prediction of a tiled TIFF with a pyramid: {asked}",
            "",
            "| megapixels | file, MB | seconds | of the first | resident, MB | read, MB | read |",
            "|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for cost in self.costs:
            ratio = cost.seconds / self.costs[0].seconds
            read, share = "", ""
            if cost.bytes_read is not None:
                read = f"{cost.bytes_read / 1e6:.2f}"
                share = f"{cost.bytes_read / cost.file_bytes:.2%}"
            lines.append(
                f"| {cost.megapixels:.0f} | {cost.file_bytes / 1e6:.0f} | {cost.seconds:.2f} | "
                f"{ratio:.2f} | {cost.resident_bytes / 1e6:.0f} | {read} | {share} |"
            )
        return "\n".join([*lines, "", self.machine])


def large(
    *,
    megapixels: tuple[int, ...] = (10, 100, 1000),
    run: Path | None = None,
    board: Path | None = None,
    view: tuple[int, int] = (512, 512),
    patch: int = 128,
    k: int = 8,
    repeats: int = 3,
    threads: int = 2,
    folder: Path | None = None,
) -> Costs:
    """Measure what the prediction of large files costs, each size in a fresh process.

    The files are tiled TIFFs with pyramids, of a texture that repeats: 0.3 GB for a gigapixel. Time
    and memory are to follow the view and the patches, not the size of the image.

    Args:
        megapixels: sizes of the images, several numbers.
        run: a trained run whose model predicts, with the view, patch and k that it has (default: a
            new model).
        board: a clean image of DeepPCB that the texture is made of (default: a painted one).
        view: height and width of the new model's view.
        patch: side of its patches in pixels.
        k: number of its patches.
        repeats: number of timed predictions of each file.
        threads: number of processor threads.
        folder: where the files are written, and kept (default: a temporary one).

    Raises:
        UserError: an option is out of range, or the run or the board cannot be read.
    """
    if not megapixels or min(*megapixels, patch, k, repeats, threads, *view) < 1:
        raise UserError("megapixels, view, patch, k, repeats and threads must be 1 or more")
    from foveal.field.benchmark.large_cost import in_fresh_process

    settings: dict[str, Any] = {"view": view, "patch": patch, "k": k}
    model = {"run": run} if run is not None else settings
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        costs = []
        for area in megapixels:
            file = place / f"{area}_megapixels.tif"
            box = _write(file, area, board)
            order = {"file": file, "box": box, "repeats": repeats, "threads": threads} | model
            costs.append(in_fresh_process(order))
    return Costs(model | {"repeats": repeats}, clock.machine(threads, "cpu"), tuple(costs))


def _write(file: Path, megapixels: int, board: Path | None) -> tuple[int, int, int, int]:
    """Write a square image with a spot; return where that is."""
    from foveal.field import gigapixel

    side = math.isqrt(megapixels * 10**6)
    texture = gigapixel.board_texture(board) if board else gigapixel.painted_texture()
    spot = gigapixel.spot(min(48, side))
    top, left = (int(share * (side - len(spot))) for share in (0.63, 0.22))
    paste = gigapixel.Paste(spot, top, left)
    gigapixel.write_pyramid(file, texture, (side, side), paste=paste)
    return top, left, top + len(spot), left + len(spot)
