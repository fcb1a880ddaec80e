"""Packages that only some formats need."""

from importlib import import_module
from typing import Any

from foveal.images.refusals import ImageError


def imported(package: str, extra: str, what: str) -> Any:
    """Import a package of an extra.

    Args:
        package: its name.
        extra: of foveal, that installs it.
        what: is read with it, in the plural.

    Raises:
        ImageError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise ImageError(
            f"{what} need the package {package}, which cannot be imported: "
            f"pip install 'foveal[{extra}]'"
        ) from None
