"""The law of devices without float64, such as Apple's: training makes no such tensor on them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from foveal.nn.selectors import Random
from miniatures import settings
from miniatures_training import RANDOM, SPLITS, classifier, fit


class MadeFloat64(Exception):
    """A float64 tensor was made on the training device."""


class NoFloat64(TorchDispatchMode):
    """Refuses float64 results, except of tensors that were moved to the CPU by `Tensor.cpu`.

    The training device is the CPU here, so `cpu` is watched, and what it returned is remembered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu: dict[int, Tensor] = {}

    def move(self, tensor: Tensor) -> Tensor:
        return self.remember(tensor.detach().clone())

    def remember(self, tensor: Tensor) -> Tensor:
        self.on_cpu[id(tensor)] = tensor
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made_here = func is torch.ops.aten.lift_fresh.default  # torch.tensor
        on_cpu = made_here or all(id(x) in self.on_cpu for x in inputs)
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and on_cpu:
                self.remember(each)
            elif isinstance(each, Tensor):
                self.on_cpu.pop(id(each), None)
                if each.dtype == torch.float64:
                    raise MadeFloat64(func)
        return result


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> NoFloat64:
    guard = NoFloat64()
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: guard.move(tensor))
    return guard


def test_the_guard_refuses_float64_on_the_device_and_allows_it_on_the_cpu(guard: NoFloat64):
    weight = torch.ones(3)
    with guard:
        assert float(weight.cpu().double().sum()) == 3
        for make in (
            Tensor.double,
            lambda x: x.cpu().double() + x,
            lambda x: x.sum(dtype=torch.double),
        ):
            with pytest.raises(MadeFloat64):
                make(weight)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_and_validation_make_no_float64_on_the_device(
    guard: NoFloat64, optimiser: str, accumulate: int
):
    options = settings(RANDOM, steps=2, optimiser=optimiser, class_weights=(1.0, 2.0))
    options = settings(options, accumulate=accumulate, validate_every=1, clip_value=1.0)
    with guard:  # a selection without noise: those with noise answer for themselves
        fit(classifier(select=Random(2)), SPLITS, options, progress=False)
