"""The libtiff inside Pillow: which codecs it has, and where it reports errors."""

import ctypes
from functools import cache

from PIL import _imaging


def is_configured(compression: int) -> bool:
    """Whether the libtiff that Pillow uses has the codec; yes where it cannot be asked."""
    known = getattr(_libtiff(), "TIFFIsCODECConfigured", None)
    return known is None or bool(known(compression))


@cache
def silence_libtiff() -> None:
    """Let libtiff report errors to Pillow alone, not to standard error as well, from now on."""
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        set_handler = getattr(_libtiff(), name, None)
        if set_handler is not None:
            set_handler(None)


@cache
def _libtiff() -> ctypes.CDLL | None:
    """Pillow's compiled module, through which the functions of its libtiff can be called."""
    try:
        return ctypes.CDLL(_imaging.__file__)
    except (AttributeError, OSError):
        return None
