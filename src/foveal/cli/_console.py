"""Helpers shared by the commands."""

from collections.abc import Sequence

from foveal._terminal import note

SUCCESS, FAILURE, MISTAKE, PIPE_CLOSED = 0, 1, 2, 141

log = note


def complain(message: str, status: int) -> int:
    """Write one line to standard error, and return the exit status."""
    log(f"foveal: {' '.join(message.split())}")
    return status


def status(errors: Sequence[str | None]) -> int:
    """Report images without a prediction; return failure only if none was predicted.

    Args:
        errors: one per image, None for an image that was predicted.
    """
    bad = [error for error in errors if error is not None]
    if bad:
        log(f"foveal: {len(bad)} of {len(errors)} images could not be predicted: {bad[0]}")
    return MISTAKE if bad and len(bad) == len(errors) else SUCCESS
