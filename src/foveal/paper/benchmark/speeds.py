"""Images a second over the size of the image: the paper's Fig. 8.

Importing this does not import torch.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.paper.benchmark import clock
from foveal.paper.benchmark.comparison import format_cell

FIGURE = "speed.png"


@dataclass(frozen=True)
class Speed:
    """One network at one size.

    Attributes:
        network: what looks, and how.
        size: height and width of the images, in pixels.
        seconds: median of an answer for a batch.
        images_per_second: of it.
    """

    network: str
    size: int
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class Speeds:
    """What was asked, where it was measured, and the figures; prints as Markdown."""

    settings: dict[str, Any]
    machine: str
    points: tuple[Speed, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "speed"} | asdict(self)

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """(size, images a second) by network."""
        found: dict[str, list[tuple[float, float]]] = {}
        for point in self.points:
            found.setdefault(point.network, []).append((point.size, point.images_per_second))
        return found

    def write(self, folder: Path) -> Path:
        """Draw the figure.

        Returns:
            The file.

        Raises:
            UserError: it cannot be written.
        """
        from foveal._files import explained
        from foveal.paper.benchmark.plots import speeds

        file = folder / FIGURE
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            speeds(self.curves()).savefig(file)
        return file

    def __str__(self) -> str:
        """A Markdown table, a line for every size."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        curves, area = self.curves(), self.settings["k"] * self.settings["patch"] ** 2
        lines = [f"speed, in images a second: {asked}", ""]
        lines.append(f"| size in px | patches / image | {' | '.join(curves)} |")
        lines.append(f"|{'---:|' * (len(curves) + 2)}")
        for place, size in enumerate(self.settings["sizes"]):
            speeds = (format_cell(points[place][1]) for points in curves.values())
            lines.append(f"| {size} | {area / size**2:.0%} | {' | '.join(speeds)} |")
        return "\n".join([*lines, "", self.machine])


def speed(
    *,
    sizes: tuple[int, ...] = (500, 1000, 1500, 2000),
    batch: int = 2,
    downscale: int = 4,
    patch: int = 100,
    k: int = 10,
    sigma: float = 0.05,
    estimators: tuple[str, ...] = ("exact", "diagonal"),
    encoders: tuple[str, ...] = ("resnet50", "resnet18"),
    repeats: int = 3,
    threads: int = 2,
    device: str = "cpu",
    output: Path | None = None,
) -> Speeds:
    """Measure images a second over the size of the image, as the paper's Fig. 8 does.

    Predictions of the patch model with a hard Top-K and with soft ones, and of the encoders on the
    whole image. As in the paper the scorer has squeeze-excitation, and the patches are joined by
    their maximum. Of the soft selections, the exact one is ours, and the diagonal one draws the
    paper's 500 samples. The images are noise, and the weights fresh.

    Args:
        sizes: heights of the square images in pixels, several numbers.
        batch: number of images at once.
        downscale: height of the image by that of the view.
        patch: side of a patch in pixels.
        k: number of patches per image.
        sigma: standard deviation of the noise in the soft selections.
        estimators: the soft selections, see `foveal.topk.perturbed`.
        encoders: timm networks for the whole image; the first one is that of the patches, too.
        repeats: number of timed runs of each.
        threads: number of processor threads.
        device: cpu or cuda.
        output: folder for the figure, speed.png.

    Raises:
        UserError: there is no such encoder, or the sizes do not fit the patch model.
    """
    if min(batch, downscale, patch, repeats, threads) < 1 or not (sizes and encoders):
        raise UserError(
            "batch, downscale, patch, repeats and threads must be 1 or more, sizes and encoders at "
            f"least one: got {batch}, {downscale}, {patch}, {repeats}, {threads}, {list(sizes)}, "
            f"{list(encoders)}"
        )
    from foveal.paper.benchmark import wirings

    settings: dict[str, Any] = {"batch": batch, "downscale": downscale, "patch": patch}
    settings |= {"k": k, "sigma": sigma, "estimators": tuple(estimators)}
    settings["encoders"] = tuple(encoders)
    points: list[Speed] = []
    with clock.threads(threads):
        for size in sizes:
            try:
                runs = wirings.predictions(device, size=size, **settings)
                for warm_up in runs.values():
                    warm_up()
            except ValueError as error:
                raise UserError(f"size {size}: {error}") from error
            measured = clock.interleaved(runs, repeats, device)
            points += [Speed(name, size, each, batch / each) for name, each in measured.items()]
    found = Speeds(
        {"sizes": tuple(sizes)} | settings, clock.machine(threads, device), tuple(points)
    )
    if output is not None:
        found.write(output)
    return found
