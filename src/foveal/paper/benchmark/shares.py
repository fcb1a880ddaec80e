"""What every part of a training step takes, and where the time goes: street scenes by default.

Importing this does not import torch.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from foveal.errors import UserError
from foveal.paper.benchmark import clock
from foveal.paper.benchmark.comparison import format_cell

Rounding = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Share:
    """One part at one size of the batch.

    Attributes:
        batch: number of images.
        part: what is measured, see `foveal.paper.benchmark.step_parts`.
        seconds: median, forward and backward; None where it did not fit.
        megabytes: peak memory of a GPU over weights and images, in 10^6 bytes; None on the CPU.
    """

    batch: int
    part: str
    seconds: float | None
    megabytes: float | None


@dataclass(frozen=True)
class Shares:
    """What was asked, where it was measured, and the figures; prints as Markdown."""

    settings: dict[str, Any]
    machine: str
    rows: tuple[Share, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "shares"} | asdict(self)

    def __str__(self) -> str:
        """A Markdown table with a line for every part and size of the batch."""
        from foveal.paper.benchmark.step_parts import STEP

        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        wholes = {row.batch: row.seconds for row in self.rows if row.part == STEP}
        lines = [f"shares: {asked}", ""]
        lines.append("| images | part | ms | of a step | images/s | MB |")
        lines.append("|---:|---|---:|---:|---:|---:|")
        for row in self.rows:
            whole, seconds = wholes.get(row.batch), row.seconds
            share = f"{seconds / whole:.0%}" if seconds and whole else "-"
            figures = (
                format_cell(seconds and 1000 * seconds),
                share,
                format_cell(row.batch / seconds if seconds else None),
                format_cell(row.megabytes),
            )
            lines.append(f"| {row.batch} | {row.part} | {' | '.join(figures)} |")
        return "\n".join([*lines, "", self.machine])


def shares(
    *,
    batches: tuple[int, ...] = (16, 32, 64),
    image: tuple[int, int] = (800, 1360),
    view: tuple[int, int] = (400, 680),
    patch: int = 64,
    k: int = 6,
    classes: int = 6,
    encoder: str = "resnet18",
    encoder_stage: int = 3,
    zoom: float = 1.5,
    precision: Rounding = "32-true",
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
) -> Shares:
    """Measure the parts of a training step of the model that foveal train makes.

    The scorer is the encoder's network up to a stride of 8 pixels, frozen, with a layer that is
    trained; the patches vote. Images are noise on the device, weights fresh, and scores so close
    together that more candidates are in reach than late in a training. Every part is measured by
    itself, forward and backward. Reading JPEG files is measured beside it.

    Args:
        batches: numbers of images per step.
        image: (H, W) in pixels.
        view: (h, w) in pixels.
        patch: side of a patch in pixels.
        k: number of patches per image.
        classes: number of classes.
        encoder: timm network for patches and view.
        encoder_stage: feature map of the encoder.
        zoom: patches are enlarged by this factor.
        precision: 32-true or bf16-mixed.
        repeats: number of timed runs of each part.
        threads: number of processor threads.
        device: cpu or cuda.

    Raises:
        UserError: there is no such encoder, or the sizes do not fit.
    """
    if min(*batches, patch, k, classes, repeats, threads) < 1:
        raise UserError("batches, patch, k, classes, repeats and threads must be 1 or more")
    if precision not in get_args(Rounding):
        raise UserError(f"--precision {precision}: choose {', '.join(get_args(Rounding))}")
    from foveal.paper.benchmark import step_parts

    settings: dict[str, Any] = {"image": tuple(image), "view": tuple(view), "patch": patch, "k": k}
    settings |= {"classes": classes, "encoder": encoder, "encoder_stage": encoder_stage}
    settings |= {"zoom": zoom, "precision": precision}
    rows: list[Share] = []
    with clock.threads(threads):
        for batch in batches:
            try:
                measured = step_parts.measure(device, repeats, batch=batch, **settings)
            except ValueError as error:
                raise UserError(f"image {image[0]} x {image[1]} px: {error}") from error
            rows += [Share(batch, part, *figures) for part, figures in measured.items()]
    return Shares(
        {"batches": tuple(batches)} | settings, clock.machine(threads, device), tuple(rows)
    )
