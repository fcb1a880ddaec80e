"""What stays in full precision where autocast lets networks compute in bfloat16 or float16.

Scores, selection, sums of crops, what combines the patches, and logits. With eight bits, thousands
of scores would share a few hundred values, and the best would be chosen by their order.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from torch import Tensor

Rounding = Literal["32-true", "bf16-mixed", "16-mixed"]


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """No autocast inside."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def forget_rounded(device: torch.device) -> None:
    """Let autocast round weights again: those of a pass without gradients have lost theirs."""
    if torch.is_autocast_enabled(device.type):
        torch.clear_autocast_cache()


def widened(rounded: Tensor, like: Tensor) -> Tensor:
    """The tensor in the type of another one, if that is wider."""
    return rounded.to(torch.promote_types(rounded.dtype, like.dtype))


def resolved(precision: str, kind: str) -> Rounding:
    """What a precision means on a kind of device: auto is bf16-mixed where that is fast.

    Args:
        precision: see `foveal.settings.Hardware`.
        kind: of `torch.device`, "cuda" for instance.
    """
    if precision == "auto":
        return "bf16-mixed" if rounds_fast(kind) else "32-true"
    return cast("Rounding", precision)


def rounding(precision: str, kind: str) -> AbstractContextManager[Any]:
    """Networks inside compute with a precision, whatever is asked for outside; see `resolved`."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = kinds.get(resolved(precision, kind))
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, dtype, enabled=dtype is not None)


def rounds_fast(kind: str) -> bool:
    """Whether a kind of device computes in bfloat16 faster than in float32.

    GPUs that have it, and CPUs with units for its matrix products (Intel's AMX); those that have
    but AVX-512 BF16 were measured to be slower.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return kind == "cpu" and bool(capabilities().get("amx_bf16"))  # an older torch has none
