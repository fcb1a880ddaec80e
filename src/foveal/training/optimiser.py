"""The optimiser, and what is scheduled at every step: learning rates and the noise of selection."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from foveal import schedules
from foveal.nn.protocols import Annealed, HasRoles
from foveal.schedules import Schedule
from foveal.settings import Optimisation

_SCHEDULES: dict[str, Schedule] = {
    "constant": schedules.constant,
    "linear": schedules.linear,
    "cosine": schedules.cosine,
}


def build_optimiser(model: nn.Module, settings: Optimisation, *, fused: bool = True) -> Optimizer:
    """Build the optimiser of all trainable parameters, in groups by role and weight decay.

    Args:
        model: the roles "scorer" and "encoder" have learning rates of their own where the model,
            or the model that it wraps, declares them; see `foveal.nn.protocols.HasRoles`.
        settings: rule, learning rates and weight decay.
        fused: one kernel for all parameters, which `step_unless` needs; not for float16, whose
            scaler of gradients decides about a step itself.

    Raises:
        ValueError: no parameter requires a gradient.
    """
    groups = [group for group in _groups(model, settings) if group["params"]]
    if not groups:
        raise ValueError("there is nothing to train: no parameter of the model requires a gradient")
    rate = settings.learning_rate
    if settings.optimiser == "sgd":
        return SGD(groups, lr=rate, momentum=settings.momentum, fused=fused)
    return AdamW(groups, lr=rate, fused=fused)


_KEPT = ({"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"}, set[str]())


def restore_optimiser(optimiser: Optimizer, saved: dict[str, Any]) -> None:
    """Restore the state that an optimiser saved, whether its own or an earlier one was fused.

    Raises:
        ValueError: it is that of other parameters, or of another kind of optimiser.
    """
    own = [{k: v for k, v in group.items() if k != "params"} for group in optimiser.param_groups]
    groups = [
        group | {"params": theirs["params"]}
        for group, theirs in zip(own, saved["param_groups"], strict=True)
    ]
    optimiser.load_state_dict({"state": saved["state"], "param_groups": groups})
    for parameter, kept in optimiser.state.items():
        fits = [
            isinstance(each, Tensor) and each.shape in (parameter.shape, ())
            for each in kept.values()
            if each is not None
        ]
        if set(kept) not in _KEPT or not all(fits):
            raise ValueError(f"the state of an optimiser has {', '.join(map(str, kept))}")


def step_unless(skip: Bool[Tensor, ""], optimiser: Any) -> None:
    """Make a step, or none, as a number on the device says, without waiting for it.

    Args:
        skip: whether to leave parameters and state as they are.
        optimiser: of `build_optimiser`, wrapped by Fabric; one that is not fused makes the step,
            or has a scaler of gradients that decides.
    """
    inner = optimiser.optimizer
    if inner.param_groups[0]["fused"]:
        _fill_momentum(inner)
        # what a scaler of gradients tells a fused optimiser
        inner.grad_scale, inner.found_inf = None, skip.to(torch.float32)
    optimiser.step()


def _fill_momentum(optimiser: Optimizer) -> None:
    """Begin with a momentum of zero: a first step that is skipped would leave it undefined."""
    for group in optimiser.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            state = optimiser.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _groups(model: nn.Module, settings: Optimisation) -> Iterator[dict[str, Any]]:
    """Scorer, encoder and the rest, each with and without weight decay."""
    roles = _roles(model)
    scales = {"scorer": settings.scorer_lr_scale, "encoder": settings.encoder_lr_scale, "rest": 1.0}
    fewest_axes = 0 if settings.decay_all else 2  # biases and norms have one
    for role, scale in scales.items():
        parameters = [
            parameter
            for parameter in model.parameters()
            if parameter.requires_grad and roles.get(id(parameter), "rest") == role
        ]
        decayed = [parameter for parameter in parameters if parameter.ndim >= fewest_axes]
        spared = [parameter for parameter in parameters if parameter.ndim < fewest_axes]
        # A resumed optimiser takes the keys of its groups from the checkpoint: they keep their
        # names.
        group = {"part": role, "scale": scale}
        yield {"params": decayed, "weight_decay": settings.weight_decay, **group}
        yield {"params": spared, "weight_decay": 0.0, **group}


def _roles(model: nn.Module) -> dict[int, str]:
    """Role of each parameter that has one, by the parameter's identity.

    The model may be wrapped, by torch.compile for instance: the outermost module that declares
    roles counts.
    """
    declared = next((part for part in model.modules() if isinstance(part, HasRoles)), None)
    if declared is None:
        return {}
    return {
        id(parameter): role
        for role, part in declared.roles().items()
        for parameter in part.parameters()
    }


def apply_schedules(
    model: nn.Module, optimiser: Optimizer, settings: Optimisation, step: int
) -> tuple[float, float | None]:
    """Set the learning rates and the scale of the selection's noise for a step.

    Step t of T, counted from 0, has progress t / T: with a linear schedule the noise of the last
    step is sigma / T and never 0.

    Returns:
        The learning rate of what is neither scorer nor encoder, and the noise: sigma x scale of
        the model's first annealed part, None without one.
    """
    progress = step / settings.steps
    factor = schedules.warm_up(_schedule(settings), settings.warm_up)(progress)
    for group in optimiser.param_groups:
        waits = group["part"] == "scorer" and progress < settings.scorer_delay
        group["lr"] = 0.0 if waits else settings.learning_rate * group["scale"] * factor

    annealed = [part for part in model.modules() if isinstance(part, Annealed)]
    for part in annealed:
        part.noise_scale = _SCHEDULES[settings.sigma_schedule](progress)
    noise = annealed[0].sigma * annealed[0].noise_scale if annealed else None
    return settings.learning_rate * factor, noise


def _schedule(settings: Optimisation) -> Schedule:
    """The schedule of the learning rate after the warm-up, over the steps that are left then."""
    if settings.schedule != "multi_step":
        return _SCHEDULES[settings.schedule]
    start = settings.warm_up
    return schedules.multi_step([(m - start) / (1 - start) for m in settings.milestones])
