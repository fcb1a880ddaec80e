"""Which devices compute in float64, and where that work is done for those that do not."""

import torch
from torch import Tensor

_WITHOUT = ("mps",)


def has_float64(device: torch.device) -> bool:
    """Whether tensors on the device can be float64; Apple's GPUs have no such type."""
    return device.type not in _WITHOUT


def where_float64(tensor: Tensor) -> Tensor:
    """The tensor on a device with float64: its own, or else the CPU; differentiable."""
    return tensor if has_float64(tensor.device) else tensor.cpu()


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; in float32 where it is float64 and the device has no such type."""
    if tensor.dtype == torch.float64 and not has_float64(device):
        tensor = tensor.float()
    return tensor.to(device)
