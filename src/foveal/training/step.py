"""One step: forward, loss, backward, clipping, and the optimiser, unless a number is not finite.

Whether it is finite is decided on the device: nothing here waits for the device, so that the host
prepares the next steps while it works. What a step found out is read later, see `read`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, get_total_norm

from foveal.data.labels import Labels, is_correct
from foveal.data.loader import Batch, Pictures
from foveal.errors import NotFiniteError
from foveal.objectives import Objective
from foveal.settings import Optimisation
from foveal.training.optimiser import step_unless
from foveal.training.state import Outcome


class Unread(NamedTuple):
    """What a step found out, on its device: see `Outcome`, whose numbers `values` are.

    Attributes:
        values: losses, correct labels, images and requests to stop, each summed over all devices;
            whether loss and gradient were finite; the norm of the scorer's gradient.
        has_scorer: whether the model has a scorer.
    """

    values: Float[Tensor, " 6"]
    has_scorer: bool


class MicroBatch:
    """Labelled images of one forward pass.

    Neither a tuple nor a dataclass: Fabric would take those apart and round float images to half
    precision, which is meant for what the network makes of them.
    """

    def __init__(self, images: Pictures, labels: Labels) -> None:
        self.images, self.labels = images, labels


class LossModule(nn.Module):
    """A model and its loss in one forward pass that returns plain tensors, which Fabric can wrap.

    Args:
        model: from images to a `Prediction`.
        settings: weight of the entropy and of the classes.
        objective: see `foveal.objectives`.
    """

    class_weights: Float[Tensor, " classes"] | None

    def __init__(self, model: nn.Module, settings: Optimisation, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective, self.entropy = model, objective, settings.entropy
        weights = settings.class_weights
        tensor = None if weights is None else torch.tensor(weights)
        self.register_buffer("class_weights", tensor, persistent=False)

    def forward(self, batch: MicroBatch) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the loss and the number of correct predictions."""
        try:
            prediction = self.model(batch.images)
        except NotFiniteError:
            return self._not_finite()
        loss = self.objective(
            prediction, batch.labels, entropy=self.entropy, class_weights=self.class_weights
        )
        return loss, is_correct(prediction.logits, batch.labels).sum().float()

    def _not_finite(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """A NaN that depends on every parameter: all devices skip the step together."""
        sums = [parameter.sum() for parameter in self.parameters() if parameter.requires_grad]
        loss = torch.stack(sums).sum() * math.nan
        return loss, torch.zeros_like(loss)


def training_step(
    fabric: Fabric,
    loss_module: Any,
    optimiser: Any,
    batch: Batch,
    settings: Optimisation,
    *,
    stop: bool,
) -> Unread:
    """Make one step of the optimiser, or skip it if the loss or its gradient is not finite.

    Args:
        fabric: devices and precision.
        loss_module: a `LossModule` that Fabric wrapped.
        optimiser: optimiser of its parameters, wrapped as well.
        batch: images of this process.
        settings: clipping and accumulation.
        stop: whether this process was asked to stop.
    """
    buffers = [(buffer, buffer.clone()) for buffer in _changing_buffers(loss_module)]
    optimiser.zero_grad()
    sums = _backward(fabric, loss_module, batch, settings.accumulate)
    # An infinite norm clips nothing, but undoes the scaling of float16 and returns the norm.
    norm: Any = fabric.clip_gradients(
        loss_module, optimiser, max_norm=settings.clip_norm or math.inf, error_if_nonfinite=False
    )
    scorer_gradient = _scorer_gradient(optimiser)
    if settings.clip_value is not None:
        clip_grad_value_(loss_module.parameters(), settings.clip_value)

    sums = torch.cat((sums, sums.new_full((1,), float(stop))))
    reduced: Any = fabric.all_reduce(sums, reduce_op="sum")
    finite = reduced[0].isfinite() & norm.isfinite()
    step_unless(~finite, optimiser)
    for buffer, before in buffers:
        buffer.copy_(torch.where(finite, buffer, before))
    gradient = torch.zeros_like(norm) if scorer_gradient is None else scorer_gradient
    values = torch.cat((reduced, torch.stack((finite.to(sums), gradient.to(sums)))))
    return Unread(values, scorer_gradient is not None)


def read(steps: Sequence[Unread]) -> list[Outcome]:
    """Copy what some steps found out from the device, all of it at once."""
    if not steps:
        return []
    outcomes = []
    for step, values in zip(steps, torch.stack([s.values for s in steps]).tolist(), strict=True):
        loss, correct, images, stops, finite, gradient = values
        scorer_gradient = gradient if step.has_scorer else None
        outcomes.append(
            Outcome(loss / images, correct, images, finite > 0, scorer_gradient, stops > 0)
        )
    return outcomes


def _changing_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers of the layers in training mode: statistics of the images."""
    training = (each for each in module.modules() if each.training)
    return [buffer for each in training for buffer in each.buffers(recurse=False)]


def _backward(fabric: Fabric, loss_module: Any, batch: Batch, parts: int) -> Float[Tensor, " 3"]:
    """Add up the gradients of the mean loss; return sums: of losses, correct labels, images."""
    sums = torch.zeros(3, device=fabric.device)
    n = len(batch.labels)
    size = math.ceil(n / parts)
    for start in range(0, n, size):
        images, labels = fabric.to_device(
            (batch.images[start : start + size], batch.labels[start : start + size])
        )
        with fabric.no_backward_sync(loss_module, enabled=start + size < n):
            loss, correct = loss_module(MicroBatch(images, labels))
            fabric.backward(loss * (len(labels) / n))
        count = sums.new_full((), float(len(labels)))
        sums += torch.stack((loss.detach() * len(labels), correct, count))
    return sums


def _scorer_gradient(optimiser: Any) -> Float[Tensor, ""] | None:
    """Norm of the gradient of the scorer's trainable parameters, None without any."""
    groups = [group for group in optimiser.param_groups if group["part"] == "scorer"]
    if not groups:
        return None
    parameters = [parameter for group in groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return get_total_norm(gradients) if gradients else torch.zeros((), device=parameters[0].device)
