"""Content of files: which are equal, byte by byte, whatever they are called."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from foveal.data.dataset import Splits
from foveal.data.folder.files import ImageFiles
from foveal.data.folder.table import shorten

_WHOLE = 2**26  # bytes up to which all of a file is read
_PIECES, _PIECE = 16, 2**20  # of a larger file: so many pieces of so many bytes, evenly spaced


class Fingerprint(NamedTuple):
    """Size of a file in bytes, and the SHA-256 of its content.

    Of a file above 64 MiB the hash is that of sixteen pieces of 1 MiB, evenly spaced.
    """

    size: int
    sha256: str


def fingerprint(file: Path) -> Fingerprint | None:
    """The fingerprint of a file; None if it cannot be read."""
    try:
        found = os.stat(file)
        return _fingerprint(str(file), found.st_size, found.st_mtime_ns)
    except OSError:
        return None


def fingerprints(files: Sequence[Path]) -> list[Fingerprint | None]:
    """The fingerprints of many files, four at a time."""
    with ThreadPoolExecutor(4, "hash") as pool:
        return list(pool.map(fingerprint, files))


@lru_cache(maxsize=2**18)
def _fingerprint(file: str, size: int, _changed: int) -> Fingerprint:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        if size <= _WHOLE:
            digest.update(stream.read())
        else:
            for piece in range(_PIECES):
                stream.seek(piece * (size - _PIECE) // (_PIECES - 1))
                digest.update(stream.read(_PIECE))
    return Fingerprint(size, digest.hexdigest())


def named_parts(splits: Splits) -> dict[str, ImageFiles]:
    """The splits that consist of files, by name."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: part for name, part in parts.items() if isinstance(part, ImageFiles)}


def leaks(splits: Splits) -> list[str]:
    """A warning where files of equal content are in several splits."""
    places: dict[Fingerprint, dict[str, str]] = {}
    for name, part in named_parts(splits).items():
        found = fingerprints([image.path for image in part.images])
        for image, print_ in zip(part.images, found, strict=True):
            if print_ is not None:
                places.setdefault(print_, {}).setdefault(name, image.file)
    shared = [by_split for by_split in places.values() if len(by_split) > 1]
    if not shared:
        return []
    shown = [" = ".join(f"{file} ({name})" for name, file in each.items()) for each in shared]
    return [
        f"warning: {len(shared)} images are in several splits, byte by byte: {shorten(shown)};"
        " figures on them are too good: remove the copies, or give them one group"
    ]


def among(files: Sequence[Path], known: Iterable[Fingerprint]) -> list[Path]:
    """The files whose content is among known ones; only those of a known size are read."""
    wanted = set(known)
    sizes = {each.size for each in wanted}
    candidates = [file for file in files if size(file) in sizes]
    found = fingerprints(candidates)
    return [file for file, each in zip(candidates, found, strict=True) if each in wanted]


def size(file: Path) -> int | None:
    """The size of a file in bytes; None if there is no such file."""
    try:
        return os.stat(file).st_size
    except OSError:
        return None
