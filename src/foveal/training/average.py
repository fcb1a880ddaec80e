"""EMA: a running average of the weights over the steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The exponential moving average (EMA) of a model's weights over the steps.

    Parameters and the statistics of batch norms are averaged; other buffers are those of the last
    step. After t steps an average weighs what it was by (1 + t) / (10 + t), at most by the decay:
    else the weights of the first steps would stay in it for long.

    Args:
        model: on its device; the average begins as its weights.
        decay: weight of the average at every step, at least 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._averaged = _averaged(model)
        self._kept = _copied(model.state_dict())

    def update(self, step: int) -> None:
        """Take in the weights of the model after so many steps."""
        now = self._model.state_dict()
        mean, last = ([each[name] for name in self._averaged] for each in (self._kept, now))
        decay = min(self._decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(mean, last, step)  # type: ignore[no-untyped-call]
        for name in now.keys() - self._averaged:
            self._kept[name].copy_(now[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The average, by the names of the model's own weights."""
        return self._kept

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved.

        Raises:
            KeyError: it lacks a weight of the model.
            RuntimeError: a weight has another shape.
        """
        for name, kept in self._kept.items():
            kept.copy_(saved[name])

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Put the average into the model for a moment."""
        own = _copied(self._model.state_dict())
        self.replace_weights()
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def replace_weights(self) -> None:
        """Put the average into the model, for good."""
        self._model.load_state_dict(self._kept)


def _averaged(model: nn.Module) -> set[str]:
    """The names of parameters and of the statistics of batch norms."""
    names = {name for name, _ in model.named_parameters()}
    for place, part in model.named_modules():
        if isinstance(part, _BatchNorm) and part.track_running_stats:
            names |= {f"{place}.{each}".lstrip(".") for each in ("running_mean", "running_var")}
    return names


@torch.no_grad()
def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in weights.items()}
