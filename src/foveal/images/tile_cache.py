"""Decoded pixels that are kept as long as there is room, those used last the longest."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Hashable

from jaxtyping import UInt8
from torch import Tensor

PER_IMAGE = 2**26  # bytes that are kept of an image by itself

Pixels = UInt8[Tensor, "3 _h _w"]


class TileCache:
    """Decoded tiles of one file or of many; safe with threads. A copy in a process is empty.

    Args:
        limit: bytes to keep at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def __reduce__(self) -> tuple[type["TileCache"], tuple[int]]:
        return TileCache, (self.limit,)

    def number(self) -> int:
        """A number that no other file has, to begin its keys with."""
        return next(self._numbers)

    def get(self, key: Hashable) -> Pixels | None:
        """What is kept under a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, pixels: Pixels) -> None:
        """Keep pixels if there is room."""
        with self._lock:
            if key not in self._kept and pixels.nbytes <= self.limit:
                self._kept[key] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > self.limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
