"""Files on servers and in object stores, through fsspec: parts of them, or a copy of the whole.

What fails is tried three times. A file is known by its size and by its ETag, its generation or the
time of its last change, as far as the server says them; if they are others after a part was read
than when it was opened, the part is refused.
"""

import glob
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from foveal.images.byte_ranges import CHANGED, Range
from foveal.images.locations import RemoteFile
from foveal.images.refusals import ImageError

_PAUSES = (0.5, 2.0)  # seconds before another try
_FINAL = (400, 401, 403, 405, 407, 410, 451)  # answers of a server that will not change
_AT_ONCE = 2**16  # bytes of a header that are read together
_GAP, _BLOCK = 2**12, 2**24  # bytes between parts that are read with them; most of one request
_STATE = (
    *("size", "ETag", "etag", "generation", "Last-Modified", "LastModified", "last_modified"),
    *("mtime", "modified", "created"),
)
T = TypeVar("T")


class RemoteRanges:
    """Parts of a remote file.

    Args:
        file: where it is.

    Attributes:
        size: in bytes; None if the server does not say it.
        state: what shows that the file is still the same.

    Raises:
        ImageError, OSError: it cannot be reached.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        info = self._info()
        self.size: int | None = info.get("size")
        self.state = _state(info)
        self._may_be_partial = info.get("partial", True) and self.size is not None

    def are_served(self) -> bool:
        """Whether the server gives parts; asked once, when a file is opened."""
        if not self._may_be_partial or not self.file.url.startswith("http"):
            return bool(self._may_be_partial)

        def probe() -> bool:
            store, path = _store(self.file)
            try:
                options = {"block_size": _AT_ONCE, "cache_type": "none", "size": self.size}
                with store.open(path, "rb", **options) as part:
                    part.seek(1)
                    part.read(1)
            except ValueError:  # the whole file instead, which fsspec does not read
                return False
            return True

        return tried(probe)

    def read(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        """See `ByteRanges`."""
        if ranges:
            parts = self.fetch(ranges)
            self.check()
            yield from parts

    def fetch(self, ranges: Sequence[Range]) -> list[bytes]:
        """Read parts, those near to each other together, of a file that may have changed."""
        from fsspec.utils import merge_offset_ranges

        starts, ends = zip(*((offset, offset + count) for offset, count in ranges), strict=True)
        _, first, last = merge_offset_ranges(
            [""] * len(ranges), list(starts), list(ends), max_gap=_GAP, max_block=_BLOCK
        )

        def fetch() -> list[bytes]:
            store, path = _store(self.file)
            names = [path] * len(first)
            found: list[bytes] = store.cat_ranges(names, first, last, on_error="raise")
            return found

        blocks = tried(fetch)
        parts = []
        for offset, count in ranges:
            at = max(n for n, start in enumerate(first) if start <= offset)
            part = blocks[at][offset - first[at] :][:count]
            if len(part) < count:
                raise OSError(f"{count - len(part)} of {count} bytes are missing")
            parts.append(part)
        return parts

    def check(self) -> None:
        """Raise `ImageError` if the file is another than when it was opened."""
        if _state(self._info()) != self.state:
            raise ImageError(CHANGED)

    def open(self) -> io.BufferedReader:
        """The file, of which only what is read is fetched."""
        return io.BufferedReader(_Parts(self), _AT_ONCE)

    def download(self, path: Path) -> None:
        """Copy the whole file.

        Raises:
            ImageError: it does not fit on the disk, or changed meanwhile.
        """
        free = shutil.disk_usage(path.parent).free
        if self.size is not None and self.size > free:
            raise ImageError(
                f"{self.size / 1e6:.0f} MB, which must be copied whole, do not fit into"
                f" {path.parent}, where {free / 1e6:.0f} MB are free: name another folder by the"
                " environment variable TMPDIR"
            )

        def fetch() -> None:
            store, name = _store(self.file)
            store.get_file(name, str(path))

        tried(fetch)
        self.check()
        if self.size is not None and path.stat().st_size != self.size:
            raise OSError(f"{path.stat().st_size} of {self.size} bytes arrived")

    def _info(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            store, path = _store(self.file)
            return dict(store.info(path))

        return tried(ask)


def names_below(place: RemoteFile) -> list[str]:
    """The files below a folder of a store, or that match a pattern, relative to the folder, or as
    the store names them.

    Raises:
        ImageError, OSError: the store does not say.
    """

    def ask() -> list[str]:
        store, path = _store(place)
        if glob.has_magic(path):
            return list(store.glob(path))
        top = path.rstrip("/")
        return [name.removeprefix(top).lstrip("/") for name in store.find(path)]

    return tried(ask)


def named(place: RemoteFile, name: str) -> RemoteFile:
    """A file that `names_below` named."""
    store, path = _store(place)
    inner, *outer = place.url.split("::")
    if glob.has_magic(path):
        return RemoteFile("::".join((store.unstrip_protocol(name), *outer)))
    return RemoteFile("::".join((f"{inner.rstrip('/')}/{name}", *outer)))


class _Parts(io.RawIOBase):
    """A remote file from which parts are read in any order."""

    mode = "rb"

    def __init__(self, content: RemoteRanges) -> None:
        self._content, self._at, self.name = content, 0, content.file.url
        self._size = content.size or 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        data = b"".join(self._content.fetch([(self._at, count)]) if count else ())
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _state(info: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {info[name]}" for name in _STATE if info.get(name) is not None)


def options_of(url: str) -> dict[str, Any]:
    """How fsspec opens a URL: nothing is remembered of what it listed."""
    options: dict[str, Any] = {} if "::" in url else {"use_listings_cache": False}
    if url.startswith(("http://", "https://")):
        import aiohttp

        # the default ends a download after five minutes, however well it goes
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    return options


def _store(file: RemoteFile) -> tuple[Any, str]:
    """The file system of a file, of which fsspec keeps one for each process, and the path in it."""
    from fsspec.core import url_to_fs

    found: tuple[Any, str] = url_to_fs(file.url, **options_of(file.url))
    return found


def tried(call: Callable[[], T]) -> T:
    """The result of a call, which is repeated if it fails in a way that may pass.

    Raises:
        FileNotFoundError, PermissionError: as they come.
        ImageError: any other failure.
    """
    for pause in (*_PAUSES, None):
        try:
            return call()
        except PermissionError:
            raise
        except ImportError as error:
            raise ImageError(f"{error}: pip install 'foveal[remote]'") from None
        except Exception as failure:  # each store has its own
            # fsspec calls everything that keeps a server from answering a missing file
            is_missing = isinstance(failure, FileNotFoundError)
            cause = failure.__cause__ if is_missing and failure.__cause__ else failure
            status = getattr(cause, "status", None)
            if status == 404 or (is_missing and cause is failure):
                raise FileNotFoundError from None
            if pause is None or status in _FINAL:
                reason = " ".join(str(cause).split()) or type(cause).__name__
                raise ImageError(
                    f"cannot be read from where it is stored ({reason}); check the address, and "
                    "that you may read it, and try again"
                ) from failure
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")
