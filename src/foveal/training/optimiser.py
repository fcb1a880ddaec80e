"""From settings to an optimiser, and what it is told at each step."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from foveal import schedules
from foveal.schedules import Schedule
from foveal.training.settings import Settings

_SCHEDULES: dict[str, Schedule] = {
    "constant": schedules.constant,
    "linear": schedules.linear,
    "cosine": schedules.cosine,
}


def optimiser(model: nn.Module, settings: Settings) -> Optimizer:
    """The optimiser of all weights that are to learn, in groups of equal treatment."""
    groups = [group for group in _groups(model, settings) if group["params"]]
    if not groups:
        raise ValueError("there is nothing to train: no weight of the model requires a gradient")
    if settings.optimiser == "sgd":
        return SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return AdamW(groups, lr=settings.learning_rate)


def _groups(model: nn.Module, settings: Settings) -> Iterator[dict[str, Any]]:
    """Scorer, encoder and the rest, each with and without weight decay; `scale` is on the rate."""
    parts = {
        "scorer": settings.scorer_learning_rate,
        "encoder": settings.encoder_learning_rate,
        "rest": 1.0,
    }
    for part, scale in parts.items():
        weights = [
            weight
            for name, weight in model.named_parameters()
            if weight.requires_grad and _part(name) == part
        ]
        fewest = 0 if settings.decay_all else 2  # axes; biases and norms have one
        decaying = [weight for weight in weights if weight.ndim >= fewest]
        spared = [weight for weight in weights if weight.ndim < fewest]
        own = {"part": part, "scale": scale}
        yield {"params": decaying, "weight_decay": settings.weight_decay, **own}
        yield {"params": spared, "weight_decay": 0.0, **own}


def _part(name: str) -> str:
    first = name.split(".")[0]
    return first if first in ("scorer", "encoder") else "rest"


def _schedule(settings: Settings) -> Schedule:
    """Of the learning rate after the warm-up, as a function of the time that is then left."""
    if settings.schedule != "multi_step":
        return _SCHEDULES[settings.schedule]
    before = settings.warm_up
    return schedules.multi_step([(drop - before) / (1 - before) for drop in settings.drops])


def apply_schedules(
    model: nn.Module, optimiser: Optimizer, settings: Settings, step: int
) -> tuple[float, float | None]:
    """Set the learning rates and sigma of a step, and return both; no sigma without a selection.

    Step t of T, counted from 0, stands at progress t / T: with a linear schedule the sigma of the
    last step is sigma / T and never 0.
    """
    progress = step / settings.steps
    pace = schedules.warm_up(_schedule(settings), settings.warm_up)(progress)
    for group in optimiser.param_groups:
        waits = group["part"] == "scorer" and progress < settings.scorer_delay
        group["lr"] = 0.0 if waits else settings.learning_rate * group["scale"] * pace
    learning_rate = settings.learning_rate * pace
    select: Any = getattr(model, "select", None)
    if not hasattr(select, "sigma"):
        return learning_rate, None
    select.sigma = settings.sigma * _SCHEDULES[settings.sigma_schedule](progress)
    return learning_rate, float(select.sigma)
