"""One step: forward, loss, backward, clipping, and the optimiser, unless a number is not finite."""

import math
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, get_total_norm

from foveal.data.labels import Labels, is_correct
from foveal.data.loader import Batch, Pictures
from foveal.objectives import Objective
from foveal.training.settings import Settings
from foveal.training.state import Outcome


class Part:
    """Labelled images.

    No tuple and no dataclass: Fabric takes those apart, and rounds images of floats to the half
    precision that is meant for what the network makes of them.
    """

    def __init__(self, images: Pictures, labels: Labels) -> None:
        """Hold them."""
        self.images, self.labels = images, labels


class LossModule(nn.Module):
    """A model and its loss in one forward pass, returned as plain tensors: what Fabric can wrap."""

    class_weights: Float[Tensor, "classes"] | None

    def __init__(self, model: nn.Module, settings: Settings, objective: Objective) -> None:
        """Hold the model."""
        super().__init__()
        self.model, self.objective, self.entropy = model, objective, settings.entropy
        weights = settings.class_weights
        tensor = None if weights is None else torch.tensor(weights)
        self.register_buffer("class_weights", tensor, persistent=False)

    def forward(self, part: Part) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss, and the number of images whose label is right."""
        try:
            prediction = self.model(part.images)
        except ValueError as error:
            if "scores must be finite" not in str(error):
                raise
            return self._nothing()
        loss = self.objective(
            prediction, part.labels, entropy=self.entropy, class_weights=self.class_weights
        )
        return loss, is_correct(prediction.logits, part.labels).sum().float()

    def _nothing(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """NaN for every weight: a step to be skipped, on all devices alike."""
        weights = [weight.sum() for weight in self.parameters() if weight.requires_grad]
        loss = torch.stack(weights).sum() * math.nan
        return loss, torch.zeros_like(loss)


def training_step(
    fabric: Fabric,
    lesson: Any,
    optimiser: Any,
    batch: Batch,
    settings: Settings,
    *,
    stop: bool,
) -> Outcome:
    """One step of the optimiser.

    Args:
        fabric: devices and precision.
        lesson: a `LossModule` that Fabric wrapped.
        optimiser: of its weights, wrapped as well.
        batch: images of this process.
        settings: clipping, accumulation and precision.
        stop: whether this process was asked to stop.
    """
    statistics = [buffer.clone() for buffer in lesson.buffers()]
    optimiser.zero_grad()
    told = _backward(fabric, lesson, batch, settings.accumulate)
    # An infinite length clips nothing, but undoes the scaling of float16 and gives the length.
    length: Any = fabric.clip_gradients(
        lesson, optimiser, max_norm=settings.clip_norm or math.inf, error_if_nonfinite=False
    )
    scorer_gradient = _scorer_gradient(lesson)
    if settings.clip_value is not None:
        clip_grad_value_(lesson.parameters(), settings.clip_value)

    told = torch.cat((told, torch.tensor([float(stop)], device=told.device)))
    summed: Any = fabric.all_reduce(told, reduce_op="sum")
    loss, correct, images, stops = summed.tolist()
    finite = math.isfinite(loss) and math.isfinite(float(length))
    # The scaler of float16 skips for itself, and learns from it.
    if finite or settings.precision == "16-mixed":
        optimiser.step()
    if not finite:
        for buffer, before in zip(lesson.buffers(), statistics, strict=True):
            buffer.copy_(before)
    return Outcome(loss / images, correct, images, finite, scorer_gradient, stops > 0)


def _backward(fabric: Fabric, lesson: Any, batch: Batch, parts: int) -> Float[Tensor, "3"]:
    """Gradients of the mean loss; the sum of the losses, the right labels, and the images."""
    told = torch.zeros(3, device=fabric.device)
    n = len(batch.labels)
    size = math.ceil(n / parts)
    for start in range(0, n, size):
        images, labels = fabric.to_device(
            (batch.images[start : start + size], batch.labels[start : start + size])
        )
        with fabric.no_backward_sync(lesson, enabled=start + size < n):
            loss, correct = lesson(Part(images, labels))
            fabric.backward(loss * (len(labels) / n))
        seen = torch.tensor(float(len(labels)), device=told.device)
        told += torch.stack((loss.detach() * len(labels), correct, seen))
    return told


def _scorer_gradient(lesson: Any) -> float | None:
    """The norm of the gradient of the scorer's weights, None where it has none to learn."""
    scorer = getattr(lesson.model, "scorer", None)
    weights = [] if scorer is None else [w for w in scorer.parameters() if w.requires_grad]
    if not weights:
        return None
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return float(get_total_norm(gradients)) if gradients else 0.0
