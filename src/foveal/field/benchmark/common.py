"""What all methods of the benchmark share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foveal._checks import check_choices, check_least
from foveal.settings import Accelerator

Method = Literal["foveal", "whole-448", "whole-896", "dense", "ips", "random"]


@dataclass(frozen=True, kw_only=True)
class Common:
    """What all methods of the benchmark share.

    Attributes:
        minutes: time to train, validations and the measurement of a step included.
        encoder: timm network that encodes patches or images.
        encoder_stage: feature map of the encoder: 0 is the finest, -1 the last.
        weights: file of pretrained weights of the encoder (.pt or .safetensors).
        batch: images per step; halved, down to 4, where fewer than 200 steps fit into the time.
        patch: side of a patch in pixels; inferred from the images if not given.
        k: number of patches per image; inferred if not given.
        threads: threads of the processor.
        accelerator: kind of device; auto takes a GPU if there is one.
    """

    minutes: float = 20.0
    encoder: str = "resnet18"
    encoder_stage: int = 3
    weights: Path | None = None
    batch: int = 16
    patch: int | None = None
    k: int | None = None
    threads: int = 1
    accelerator: Accelerator = "auto"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_choices(self)
        check_least(self, ("minutes",), 0)
        check_least(self, ("batch", "patch", "k", "threads"), 1)
