"""Copies of remote files that are read whole, in the folder for temporary files."""

import io
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from foveal.images.locations import RemoteFile
from foveal.images.remote import RemoteRanges

_COPIES = 2**32  # bytes that a process keeps


class Copy:
    """A copy of a remote file in the folder for temporary files, deleted with this object.

    Args:
        content: of the file.

    Attributes:
        path: of the copy.
        size: in bytes.
    """

    def __init__(self, content: RemoteRanges) -> None:
        handle, name = tempfile.mkstemp(content.file.suffix, "foveal-")
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, _delete, self.path, os.getpid())
        content.download(self.path)
        self.size = self.path.stat().st_size

    def open(self) -> io.BufferedReader:
        """Open the copy."""
        return self.path.open("rb")


_copies: OrderedDict[tuple[Any, ...], Copy] = OrderedDict()
_lock = threading.Lock()


def kept_copy(content: RemoteRanges) -> Copy | None:
    """A copy that was made before, of a file that is still the same."""
    key = _key(content)
    with _lock:
        if key in _copies:
            _copies.move_to_end(key)
        return _copies.get(key)


def downloaded(file: RemoteFile) -> Copy:
    """A copy of a remote file as it is now; those used last are kept.

    Raises:
        ImageError, OSError: it cannot be copied.
    """
    content = RemoteRanges(file)
    kept = kept_copy(content)
    if kept is not None:
        return kept
    copy = Copy(content)
    with _lock:
        _copies[_key(content)] = copy
        while len(_copies) > 1 and sum(each.size for each in _copies.values()) > _COPIES:
            _copies.popitem(last=False)
    return copy


def _key(content: RemoteRanges) -> tuple[Any, ...]:
    return os.getpid(), content.file, content.state


def _delete(path: Path, process: int) -> None:
    """Delete a copy, unless it is that of the process that this one was forked from."""
    if os.getpid() == process:
        with suppress(OSError):
            path.unlink()
