"""Lightning Fabric, without its adverts."""

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

from foveal.errors import UserError
from foveal.training.settings import Settings

__all__ = ["Fabric", "fabric_of", "own_randomness", "set_up"]


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def fabric_of(settings: Settings) -> Fabric:
    """Devices, precision, exchange of gradients; starts the other processes if there are any.

    Raises:
        UserError: this machine does not have what the settings ask for.
    """
    many = settings.devices != 1 or settings.nodes > 1
    # Without the reward for entropy, a step at sigma 0 gives the scorer no gradient at all.
    unused = many and settings.entropy == 0
    with _quiet():
        try:
            fabric = Fabric(
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.nodes,
                precision=settings.precision,  # type: ignore[arg-type]  # checked by Settings
                strategy="ddp_find_unused_parameters_true" if unused else "auto",
            )
        except Exception as error:  # Lightning has many
            reason = " ".join(str(error).split())
            raise UserError(
                f"cannot train with devices={settings.devices}, nodes={settings.nodes}, "
                f"accelerator={settings.accelerator}, precision={settings.precision}: {reason}"
            ) from error
        _check_processors(fabric, settings.nodes)
        fabric.launch()
    return fabric


def _check_processors(fabric: Fabric, nodes: int) -> None:
    """On a CPU every "device" is another process: Lightning would start any number of them."""
    processors, here = os.cpu_count() or 1, fabric.world_size // nodes
    if fabric.device.type == "cpu" and here > processors:
        raise UserError(
            f"cannot train on {here} devices: this machine has no GPU and {processors} processors"
        )


def set_up(fabric: Fabric, module: nn.Module, optimiser: Optimizer) -> tuple[Any, Any]:
    """The module and the optimiser on their devices, wrapped by Fabric."""
    with _quiet():
        wrapped_module, wrapped_optimiser = fabric.setup(module, optimiser)
    return wrapped_module, wrapped_optimiser


@contextmanager
def own_randomness(fabric: Fabric) -> Iterator[None]:
    """Seeds set inside are forgotten afterwards."""
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
