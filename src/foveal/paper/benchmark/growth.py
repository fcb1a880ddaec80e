"""How the cost of selection and extraction grows with N, K, B and the size of the image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SELECTION: dict[str, Any] = {"batch": 4, "candidates": 1600, "k": 10, "samples": 500}
EXTRACTION: dict[str, Any] = {"batch": 1, "channels": 3, "image": (1000, 1000), "stride": 16}
SELECTION |= {"sigma": 0.05, "estimators": ("exact",)}
EXTRACTION |= {"patch": (100, 100), "k": 10, "sigma": 0.05}

VARIED: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "candidates N": ("selection", "candidates", (100, 1000, 10_000, 100_000)),
    "patches k": ("selection", "k", (2, 10, 50, 200)),
    "images B": ("selection", "batch", (1, 4, 16, 64)),
    "size of the image in px": ("extraction", "image", (500, 1000, 2000, 4000)),
}
"""What is varied: the task, the setting and its values. The others stay as above."""


@dataclass(frozen=True)
class Point:
    """The cost of one variant at one value.

    Attributes:
        varied: what is varied, a key of `VARIED`.
        value: of it.
        variant: see `foveal.paper.benchmark.tasks`.
        seconds: median of a forward and a backward pass; None where it would not fit.
        megabytes: peak memory over its inputs, in 10^6 bytes; None where it would not fit.
    """

    varied: str
    value: int
    variant: str
    seconds: float | None
    megabytes: float | None


@dataclass(frozen=True)
class Scaling:
    """All points, and the machine they were measured on."""

    points: tuple[Point, ...]
    machine: str

    def summary(self) -> dict[str, Any]:
        """The points, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """A Markdown table."""
        lines = ["| varied | value | variant | seconds | MB |", "|---|---:|---|---:|---:|"]
        for point in self.points:
            cost = (
                "-" if each is None else f"{each:.3g}" for each in (point.seconds, point.megabytes)
            )
            row = (point.varied, point.value, point.variant, *cost)
            lines.append(f"| {' | '.join(map(str, row))} |")
        return "\n".join([*lines, "", self.machine])


def settings(varied: str, value: Any) -> tuple[str, dict[str, Any]]:
    """The task and all its settings at one value."""
    task, name, _ = VARIED[varied]
    value = (value, value) if name == "image" else value
    return task, (SELECTION if task == "selection" else EXTRACTION) | {name: value}


def bytes_of_plain(task: str, asked: Mapping[str, Any]) -> int:
    """About what the plain version keeps until its backward pass."""
    if task == "selection":
        # One-hots as integers and as floats, noise and noisy scores.
        entries = asked["k"] * asked["candidates"] * 12 + asked["candidates"] * 12
        return int(asked["batch"] * asked["samples"] * entries)
    height, width = asked["patch"]
    rows, columns = ((asked["image"][i] - asked["patch"][i]) // asked["stride"] + 1 for i in (0, 1))
    return int(asked["batch"] * rows * columns * asked["channels"] * height * width * 4)


def drawn(scaling: Scaling, output: Path) -> Path:
    """Write the figure.

    Returns:
        The file.
    """
    from foveal.paper.benchmark.plots import costs

    output.mkdir(parents=True, exist_ok=True)
    file = output / "scaling.png"
    costs(scaling.points).savefig(file)
    return file
