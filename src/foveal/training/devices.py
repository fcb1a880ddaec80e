"""Lightning Fabric: devices, precision and the exchange of gradients, without its messages."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import foveal._torchvision  # noqa: F401  # before lightning

# isort: split
from lightning.fabric import Fabric
from torch.optim import Optimizer

from foveal._precision import Rounding, resolved
from foveal.errors import UserError
from foveal.settings import Hardware

__all__ = [
    "Fabric",
    "configure_fabric",
    "isolated_randomness",
    "launch_fabric",
    "wait_for_all",
    "wrap",
]


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def launch_fabric(hardware: Hardware, *, unused_parameters: bool) -> Fabric:
    """Configure Fabric and start the other processes, if there are any.

    Args:
        hardware: devices, nodes, accelerator and precision.
        unused_parameters: whether a step may leave parameters without a gradient.

    Raises:
        UserError: this machine does not have the hardware.
    """
    distributed = hardware.devices != 1 or hardware.nodes > 1
    find_unused = distributed and unused_parameters
    strategy = "ddp_find_unused_parameters_true" if find_unused else "auto"
    fabric = configure_fabric(hardware, strategy)
    with _quiet():
        fabric.launch()
    return fabric


def configure_fabric(hardware: Hardware, strategy: str = "auto") -> Fabric:
    """Configure Fabric; starts nothing.

    Args:
        hardware: devices, nodes, accelerator and precision.
        strategy: name of a strategy of Fabric.

    Raises:
        UserError: this machine does not have the hardware.
    """
    precision = _precision(hardware)
    with _quiet():
        try:
            fabric = Fabric(
                accelerator=hardware.accelerator,
                devices=hardware.devices,
                num_nodes=hardware.nodes,
                precision=precision,
                strategy=strategy,
            )
        except Exception as error:  # Lightning raises many types
            reason = " ".join(str(error).split())
            raise UserError(
                f"cannot train with devices={hardware.devices}, nodes={hardware.nodes}, "
                f"accelerator={hardware.accelerator}, precision={precision}: {reason}"
            ) from error
        _check_cores(fabric, hardware.nodes)
    return fabric


def _precision(hardware: Hardware) -> Rounding:
    """The precision that is meant by auto."""
    gpu = hardware.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    kind = hardware.accelerator if hardware.accelerator != "auto" else "cuda" if gpu else "cpu"
    return resolved(hardware.precision, kind)


def _check_cores(fabric: Fabric, nodes: int) -> None:
    """Refuse more CPU "devices" than cores: each is a process, and Lightning starts any number."""
    cores, local_devices = os.cpu_count() or 1, fabric.world_size // nodes
    if fabric.device.type == "cpu" and local_devices > cores:
        raise UserError(
            f"cannot train on {local_devices} devices: this machine has no GPU and {cores} cores"
        )


def wait_for_all() -> None:
    """Let every process of a distributed run come to this point; alone, go on."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def wrap(fabric: Fabric, module: nn.Module, optimiser: Optimizer) -> tuple[Any, Any]:
    """Move a module and its optimiser to their device and return Fabric's wrappers of them."""
    with _quiet():
        wrapped_module, wrapped_optimiser = fabric.setup(module, optimiser)
    return wrapped_module, wrapped_optimiser


@contextmanager
def isolated_randomness(fabric: Fabric) -> Iterator[None]:
    """Restore torch's random generators on leaving."""
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
