"""A file or a folder that one process writes at a time; a lock ends with its process.

The operating system keeps the locks, so that none outlives a process, however it ends. Some file
systems keep none: there, nothing is refused.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal._files import explained, no_links
from foveal.errors import UserError

LOCK = ".lock"
"""In a folder that is being written; it stays where the process was killed."""

_REFUSED = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_held = set[int]()


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, which exists, for this process alone.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    file = folder / LOCK
    descriptor = _open(file, folder)
    while not _is_at(file, descriptor):  # the process that held it has removed it
        os.close(descriptor)
        descriptor = _open(file, folder)
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        with suppress(OSError):
            file.unlink()  # before it is let go: nobody else can hold it yet
        os.close(descriptor)


@contextmanager
def held_file(file: Path) -> Iterator[None]:
    """Hold a file for this process alone; it is made, empty, with its folder if there is none.

    Raises:
        UserError: another process holds it, it is a link, or it cannot be written.
    """
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(file, file)
    try:
        yield
    finally:
        os.close(descriptor)


def _open(file: Path, named: Path) -> int:
    """Open a file and hold it."""
    with explained(named):
        descriptor = no_links(str(file), os.O_RDWR | os.O_CREAT)
    if _lock(descriptor):
        return descriptor
    os.close(descriptor)
    raise UserError(
        f"{named}: another process is writing there: wait until it has ended, or stop it"
    )


def _is_at(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:
        import msvcrt

        os.lseek(descriptor, 2**30, os.SEEK_SET)  # a locked byte cannot be read by others
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in _REFUSED
        return True

else:

    def _lock(descriptor: int) -> bool:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _REFUSED
        return True

    def _forget() -> None:
        """A forked process does not hold what its parent holds, which may end before it."""
        for descriptor in _held:
            os.close(descriptor)
        _held.clear()

    os.register_at_fork(after_in_child=_forget)
