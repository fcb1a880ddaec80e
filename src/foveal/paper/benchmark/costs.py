"""Time, memory and speed of every model, at training and at inference.

Importing this does not import torch.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from foveal.errors import UserError
from foveal.paper.benchmark.comparison import Measurement, compare, format_cell

ModelName = Literal[
    "transformer",
    "max",
    "hard",
    "sinkhorn",
    "attention_sampling",
    "iterative",
    "whole",
    "whole_small",
    "nts_topk",
    "nts_net",
]
MODELS: dict[ModelName, str] = {
    "transformer": "PatchClassifier, transformer",
    "max": "PatchClassifier, max",
    "hard": "PatchClassifier, transformer, hard in training",
    "sinkhorn": "PatchClassifier, transformer, Sinkhorn",
    "attention_sampling": "AttentionSampling",
    "iterative": "IterativePatchSelection",
    "whole": "WholeImage",
    "whole_small": "WholeImage, downscaled",
    "nts_topk": "NTSTopK, whole at 1/2",
    "nts_net": "NTSNet, whole at 1/2",
}


@dataclass(frozen=True)
class Cost:
    """What one run takes.

    Attributes:
        seconds: median; None where it did not fit.
        megabytes: peak memory over weights and images, in 10^6 bytes; None where it did not fit.
        images_per_second: None where it did not fit.
    """

    seconds: float | None
    megabytes: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class ModelCost:
    """One model's figures: of a training step, and of an answer.

    Attributes:
        model: a key of `MODELS`.
    """

    model: ModelName
    training: Cost
    inference: Cost


@dataclass(frozen=True)
class Costs:
    """What was asked, where it was measured, and the figures; prints as Markdown."""

    settings: dict[str, Any]
    machine: str
    rows: tuple[ModelCost, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"task": "models"} | asdict(self)

    def __str__(self) -> str:
        """A Markdown table between what was asked and where it ran."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        columns = ("seconds", "MB", "images/s")
        titles = [f"{how}: {each}" for how in ("training", "inference") for each in columns]
        lines = [f"models: {asked}", "", f"| model | {' | '.join(titles)} |"]
        lines.append(f"|---|{'---:|' * len(titles)}")
        for row in self.rows:
            figures = (*asdict(row.training).values(), *asdict(row.inference).values())
            lines.append(f"| {MODELS[row.model]} | {' | '.join(map(format_cell, figures))} |")
        return "\n".join([*lines, "", self.machine])


def models(
    *,
    batch: int = 4,
    size: int = 1000,
    downscale: int = 4,
    patch: int = 100,
    k: int = 10,
    encoder: str = "resnet18",
    models: tuple[ModelName, ...] = get_args(ModelName),
    repeats: int = 3,
    threads: int = 2,
    device: str = "cpu",
) -> Costs:
    """Measure time, memory and images a second of every model, training and predicting.

    Training is a step: forward, with the soft selection where there is one, backward, and AdamW.
    Inference is a forward pass in evaluation. All get the same images of noise, the same encoder
    from scratch, the same K and patches of the same size. The view, and the downscaled whole
    image, have 1/downscale of its height and width. IterativePatchSelection looks at the grid of
    patches that covers the image, 32 at once. NTSTopK and NTSNet look at the whole at half its
    size (published: 448 px, whatever the image), cut their parts from that and resample them to the
    patch; in training NTSNet ranks half as many again as K, as published.

    Args:
        batch: number of images at once.
        size: height and width of an image in pixels.
        downscale: height of the image by that of the view.
        patch: side of a patch in pixels.
        k: number of patches per image.
        encoder: timm network, the same for all.
        models: models to measure.
        repeats: number of timed runs of each.
        threads: number of processor threads.
        device: cpu or cuda.

    Raises:
        UserError: there is no such encoder or model, or the sizes do not fit a model.
    """
    if min(batch, downscale, patch, repeats, threads) < 1:
        raise UserError(
            "batch, downscale, patch, repeats and threads must be 1 or more: got "
            f"{batch}, {downscale}, {patch}, {repeats}, {threads}"
        )
    unknown = [name for name in models if name not in MODELS]
    if unknown or not models:
        raise UserError(f"models must be some of {', '.join(MODELS)}: got {list(models)}")

    from foveal.paper.benchmark import wirings

    built: dict[str, Any] = {"size": size, "downscale": downscale, "patch": patch}
    built |= {"k": k, "encoder": encoder}
    for name in models:
        try:
            wirings.build_model(name, **built)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
    settings = {"batch": batch} | built | {"models": tuple(models)}
    table = compare("models", settings, repeats, threads, device)
    measured = {row.name: _cost(row, batch) for row in table.rows}
    rows = (
        ModelCost(
            name, measured[f"{name} {wirings.TRAINING}"], measured[f"{name} {wirings.INFERENCE}"]
        )
        for name in models
    )
    return Costs(settings, table.machine, tuple(rows))


def _cost(row: Measurement, batch: int) -> Cost:
    return Cost(row.seconds, row.megabytes, batch / row.seconds if row.seconds else None)
