"""Small weight files, as a user would bring them."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from foveal.nn.backbones import backbone


def save_backbone(path: Path, *, stage: int) -> tuple[Path, dict[str, Tensor]]:
    """Write the state dict of a ResNet-18 up to a stage, with a classifier that nobody asked
    for."""
    torch.manual_seed(7)
    state = backbone("resnet18", stage).state_dict()
    state = {key: torch.rand_like(v) if v.is_floating_point() else v for key, v in state.items()}
    with_more = {**state, "fc.weight": torch.rand(10, 4)}
    if path.suffix == ".safetensors":
        save_file(with_more, path)
    else:
        torch.save(with_more, path)
    return path, state
