"""Parts of a file that must stay the same while it is read."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol, runtime_checkable

from foveal.images.refusals import ImageError

Range = tuple[int, int]
"""Offset of the first byte, and number of bytes."""


@runtime_checkable
class ByteRanges(Protocol):
    """A file of which parts are read."""

    def read(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        """The bytes of each range.

        Raises:
            ImageError: the file has changed since it was opened.
            OSError: it ends early, or cannot be read.
        """


CHANGED = "changed while it was read; read it again when it is complete"


class LocalRanges:
    """Parts of a file on disk.

    Args:
        open_file: opens it.
        file: the same, open.
    """

    def __init__(self, open_file: Callable[[], BinaryIO], file: BinaryIO) -> None:
        self._open, self._stamp = open_file, stamp(os.fstat(file.fileno()))

    def read(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        """See `ByteRanges`."""
        with self._open() as file:
            if stamp(os.fstat(file.fileno())) != self._stamp:
                raise ImageError(CHANGED)
            for offset, count in ranges:
                file.seek(offset)
                data = file.read(count)
                if len(data) < count:
                    raise OSError(f"{count - len(data)} of {count} bytes of a tile are missing")
                yield data


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """What shows that a file is still the same."""
    return status.st_ino, status.st_size, status.st_mtime_ns
