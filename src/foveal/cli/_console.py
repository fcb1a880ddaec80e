"""Helpers shared by the commands."""

import sys
from collections.abc import Sequence

SUCCESS, MISTAKE, INTERRUPTED, PIPE_CLOSED = 0, 2, 130, 141


def log(*lines: str) -> None:
    """Write lines to standard error."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def complain(message: str, status: int) -> int:
    """Write one line to standard error, and return the exit status."""
    log(f"foveal: {' '.join(message.split())}")
    return status


def status(errors: Sequence[str | None]) -> int:
    """Report unreadable images; return failure only if none could be read.

    Args:
        errors: one per image, None for an image that was read.
    """
    bad = [error for error in errors if error is not None]
    if bad:
        log(f"foveal: {len(bad)} of {len(errors)} images could not be read: {bad[0]}")
    return MISTAKE if bad and len(bad) == len(errors) else SUCCESS


def best_device() -> str:
    """The GPU if there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
