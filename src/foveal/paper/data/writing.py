"""Files that are complete or absent, whatever stops the writing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from foveal.errors import UserError


def replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there once it is complete."""
    part = file.with_name(f".{file.name}.part")
    try:
        write(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def refused(file: Path, error: OSError) -> UserError:
    """Why a file cannot be written, in one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{file}: the disk is full; make room and run the same again to go on")
    return UserError(f"{file}: cannot be written: {error.strerror or error}")
