"""What goes wrong while a file is read, said in one line: the file, the fault and the remedy."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import PIL.Image

from foveal.errors import UserError
from foveal.images import pillow_settings, tiff
from foveal.images.libtiff import silence_libtiff
from foveal.images.locations import Location

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM")
"""The formats that are read, in Pillow's words."""

# what Pillow raises on damaged files; Warning: programs may turn warnings into errors
DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Warning,
)


class ImageError(UserError):
    """A file that cannot be used as an image; one line names the file, the fault and the remedy."""


@contextmanager
def reading(path: Location) -> Iterator[None]:
    """Read a file inside: with the settings of Pillow, and with every fault as `ImageError`."""
    try:
        with pillow_settings.applied():
            silence_libtiff()
            yield
    except ImageError as error:
        raise ImageError(_line(f"{path}: {error}")) from None
    except tiff.UnsupportedTiff as error:
        remedy = "save it as PNG, or as TIFF of RGB or gray with 8 bits"
        raise ImageError(_line(f"{path}: {error}; {remedy}")) from None
    except FileNotFoundError:
        raise ImageError(_line(f"{path}: no such file; check the path")) from None
    except IsADirectoryError:
        raise ImageError(_line(f"{path}: a folder, not an image; name a file in it")) from None
    except PermissionError:
        raise ImageError(_line(f"{path}: permission denied; change its permissions")) from None
    except PIL.UnidentifiedImageError:
        raise ImageError(_line(f"{path}: {_unidentified(path)}")) from None
    except DAMAGE as error:
        remedy = "copy it again or leave it out"
        raise ImageError(_line(f"{path}: damaged or truncated ({error}); {remedy}")) from error


def _line(message: str) -> str:
    return " ".join(message.splitlines())


def _unidentified(path: Location) -> str:
    remedy = "convert it to 8-bit JPEG, PNG, WebP or TIFF"
    with pillow_settings.applied(), path.open("rb") as file:
        start = file.read(16)
        if not start:
            return "empty file (0 bytes); copy it again or leave it out"
        for name in FORMATS:
            factory, accept = PIL.Image.OPEN[name]
            # accept gives a text where Pillow lacks the library
            if accept is None or accept(start) is not True:
                continue
            try:
                file.seek(0)
                factory(file, "")
            except DAMAGE as error:
                return f"{name} of an unsupported kind, or damaged ({error}); {remedy}"
    return f"not an image, or an unsupported format; {remedy}"


def several(count: int) -> str:
    """What is wrong with a file of several images."""
    return f"holds {count} images; save the one you want as a file of its own"
