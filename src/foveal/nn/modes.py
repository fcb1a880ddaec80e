"""Run a model in evaluation mode for a moment, and leave no trace of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every part of a model into evaluation mode, and restore the mode of each afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def freeze_norms(model: nn.Module) -> None:
    """Let batch norms use and keep the statistics that they have, until the next `train()`."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


@torch.no_grad()
def dry_run(part: Callable[..., Tensor], *inputs: object) -> Tensor:
    """Call a part of a model to learn the shape of what it returns.

    Modes, parameters, buffers and torch's default generator are the same afterwards.

    Args:
        part: a module or a function.
        inputs: what it is called with; tensors are moved to the module's device and, if floating
            point, to its type.
    """
    with torch.random.fork_rng(devices=[]):
        if not isinstance(part, nn.Module):
            return part(*inputs)
        weight = next((p for p in part.parameters() if p.is_floating_point()), torch.zeros(()))
        moved = tuple(
            each.to(weight if each.is_floating_point() else weight.device)
            if isinstance(each, Tensor)
            else each
            for each in inputs
        )
        copies = {name: buffer.clone() for name, buffer in part.named_buffers()}
        with evaluation_mode(part):
            found: Tensor = functional_call(part, copies, moved)
    return found
