"""The images in a folder of an object store, or that a pattern of names in it matches."""

import glob
from pathlib import PurePosixPath

from foveal.data.folder.table import user_error
from foveal.data.folder.tree import (
    LeftOut,
    is_hidden,
    is_image,
    natural_key,
    suffixes,
)
from foveal.images import ImageError, remote
from foveal.images.locations import RemoteFile, is_zarr


def is_remote_folder(place: RemoteFile) -> bool:
    """Whether a URL names several files: a bucket, what ends with a slash, or a pattern.

    On a web server it names one: that has no list of files, and ? begins a query there. An array of
    Zarr is one image.
    """
    inner = place.url.split("::")[0]
    if inner.startswith(("http://", "https://")) or is_zarr(place):
        return False
    name = place.url.partition("://")[2]
    is_bucket = not ("/" in name or "::" in name or is_image(PurePosixPath(name)))
    return is_bucket or inner.endswith("/") or glob.has_magic(inner)


def list_remote(place: RemoteFile) -> tuple[list[RemoteFile], tuple[str, ...]]:
    """All images in a folder and below that count, or that match, and notes on what was left out.

    What counts is what would count in a local folder, see `foveal.data.folder.tree`; runs and pages
    that foveal wrote are not known there. What a pattern matches counts whatever its name.

    Raises:
        UserError: there is none, or the store cannot be listed.
    """
    try:
        names = remote.names_below(place)
    except ImageError as error:
        raise user_error(f"{place}: {error}") from None
    except (OSError, ImportError, ValueError) as error:
        raise user_error(f"{place}: cannot be listed ({error}); check the address") from None
    if glob.has_magic(place.url.split("::")[0]):
        if not names:
            raise user_error(f"{place}: no file matches this pattern")
        return [remote.named(place, name) for name in _in_order(names)], ()
    left_out, kept = LeftOut(), dict[str, None]()
    for name in _in_order(names):
        path = PurePosixPath(name)
        arrays = [each for each in (path, *path.parents) if each.suffix.lower() == ".zarr"]
        whole = arrays[-1] if arrays else path
        if any(is_hidden(part) for part in whole.parts):
            left_out.hidden.append(name)
        elif is_image(whole):
            kept[str(whole)] = None
        elif whole.name != "boxes.csv":
            left_out.others.append(name)
    notes = left_out.notes()
    if not kept:
        why = "".join(f"; {note}" for note in notes)
        raise user_error(f"{place}: no images in this folder; images end in {suffixes()}{why}")
    return [remote.named(place, name) for name in kept], notes


def _in_order(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: [natural_key(part) for part in PurePosixPath(name).parts])
