"""Files that are replaced all at once or not at all, and whose trouble is told in one line."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import UserError


def write(file: Path, content: bytes) -> None:
    """Replace a file, all of it or nothing."""
    temporary = file.with_name(f".{file.name}.new")
    with explained(file, "what was there is intact", temporary=temporary):
        write_through(temporary, content)
        temporary.replace(file)


def write_through(file: Path, content: bytes) -> None:
    """Write to the disk itself: a later move must not outlive a power failure without it."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def explained(place: Path, state: str = "", temporary: Path | None = None) -> Iterator[None]:
    """Turn an error of the operating system into one line, and remove what was half written."""
    try:
        yield
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            with suppress(OSError):
                temporary.unlink()
        intact = f"; {state}" if state else ""
        raise UserError(
            f"{place}: cannot be written ({error.strerror}){intact}: free some space there, or "
            "choose another --output"
        ) from error
