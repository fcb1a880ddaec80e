"""Settings of Pillow that hold while an image is read.

Its limits of size are lifted: `foveal.images` has its own. libtiff decodes uncompressed TIFFs too,
of which Pillow's own decoder misreads some: 16-bit samples in separate planes, for example.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import PIL.Image
import PIL.PngImagePlugin
import PIL.TiffImagePlugin

_SETTINGS: tuple[tuple[Any, str, int | None], ...] = (
    (PIL.Image, "MAX_IMAGE_PIXELS", None),
    # bytes of metadata: profiles and the history of edits are larger than Pillow allows
    (PIL.PngImagePlugin, "MAX_TEXT_CHUNK", 2**28),
    (PIL.PngImagePlugin, "MAX_TEXT_MEMORY", 2**28),
    (PIL.TiffImagePlugin, "READ_LIBTIFF", True),
)
_lock = threading.Lock()
_inside = 0
_before: list[Any] = []


@contextmanager
def applied() -> Iterator[None]:
    """Apply the settings while any thread is inside, then restore what was there before."""
    global _inside
    with _lock:
        if _inside == 0:
            _before[:] = [getattr(module, name) for module, name, _ in _SETTINGS]
            for module, name, value in _SETTINGS:
                setattr(module, name, value)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for (module, name, _), value in zip(_SETTINGS, _before, strict=True):
                    setattr(module, name, value)
