"""Geometry of a network's feature map: the offset of cell 0, in pixels of the image.

    centre of cell i = offset + stride x i

Odd kernels with symmetric padding (ResNet) give 0.5, the middle of the first pixel. Stems that cut
the image into tiles (ConvNeXt, Swin, ViT) give half a stride, padding on one side (networks ported
from TensorFlow) something in between.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from foveal.nn.backbones import backbone, data_config, feature_map

_CELLS = 11  # wide enough for the gradient of the middle cell to die away
_COMBINATIONS = 8  # of features whose gradients are averaged


@lru_cache(maxsize=64)
def cell_offset(name: str, stage: int) -> float:
    """Measure the offset of a timm network's feature map.

    It is the centre of the gradient of a cell in the middle. So that it depends on the
    architecture alone, the weights are those of a network of its own, with kernels that are
    constant in space. Costs a forward and a backward pass, once in a process.

    Args:
        name: name of the network in timm.
        stage: number of the feature map.

    Returns:
        Pixels, to the nearest half. Where paths through the network disagree (ResNet-D), it lies
        between them.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network = backbone(name, stage).eval()
        _flatten_kernels(network)
        stride = int(network.feature_info.reduction()[-1])
        try:
            energy, cell = _energy(network, _CELLS * stride)
        except (AssertionError, RuntimeError):  # a network for images of one size
            side = data_config(network)["input_size"][-1]
            energy, cell = _energy(network, side)
    pixels = torch.arange(len(energy), dtype=torch.float64) + 0.5
    centres = [(energy.sum(dim=axis) * pixels).sum() / energy.sum() for axis in (0, 1)]
    return round(2 * (float(sum(centres)) / 2 - stride * cell)) / 2


def _energy(network: nn.Module, side: int) -> tuple[Tensor, int]:
    """The squared gradient (side, side) of a cell in the middle, and the number of its row."""
    image = torch.full((1, 3, side, side), 0.5, requires_grad=True)
    features = feature_map(network, image, (0.0,) * 3, (1.0,) * 3)[0]  # (D, rows, columns)
    cell = features.shape[1] // 2
    # Linear layers that merge neighbours prefer one by chance: average over combinations.
    merges = any(isinstance(part, nn.Linear) for part in network.modules())
    energy = torch.zeros(side, side, dtype=torch.float64)
    for _ in range(_COMBINATIONS if merges else 1):
        score = features[:, cell, cell] @ torch.randn(len(features))
        (gradient,) = torch.autograd.grad(score, image, retain_graph=True)
        energy += gradient[0].double().square().sum(dim=0)
    return energy, cell


@torch.no_grad()
def _flatten_kernels(network: nn.Module) -> None:
    """Make kernels constant in space, and cut the gradient through averages of the whole image.

    On a grey image its activations are then constant in space too, and the gradient is symmetric
    about its centre.
    """
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        elif weight.ndim == 1:  # norms and layer scales, some of which start at zero
            weight.fill_(1)
        elif weight.ndim == 4 and weight.shape[-1] > 1:
            weight.copy_(torch.rand(*weight.shape[:2], 1, 1).expand_as(weight) / weight[0].numel())
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_pre_hook(_detach_summaries)
        elif isinstance(part, nn.MaxPool2d):
            part.register_forward_hook(_average)


def _detach_summaries(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Stop the gradient where the whole image was averaged, as in squeeze-excitation."""
    x = inputs[0]
    is_summary = x.ndim == 2 or (x.ndim == 4 and x.shape[2:] == (1, 1))
    return (x.detach(), *inputs[1:]) if is_summary else inputs


def _average(pool: nn.Module, inputs: tuple[Any, ...], _: Tensor) -> Tensor:
    """Average where a maximum of equals would pick the first."""
    assert isinstance(pool, nn.MaxPool2d)
    return nn.functional.avg_pool2d(
        inputs[0], pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode
    )
