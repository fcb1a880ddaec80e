"""Content of files: which are equal, byte by byte, whatever they are called."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal, NamedTuple

from foveal._futures import map_in_order
from foveal.data.dataset import Splits
from foveal.data.folder.files import ImageFiles
from foveal.data.folder.table import shorten
from foveal.data.labels import text
from foveal.images.locations import Location

_WHOLE = 2**26  # bytes up to which all of a file is read
_PIECES, _PIECE = 16, 2**20  # of a larger file: so many pieces of so many bytes, evenly spaced


class Placed(NamedTuple):
    """A file of a data set, with its split and the name of its label."""

    file: str
    split: str
    label: str


class Fingerprint(NamedTuple):
    """Size of a file in bytes, and the SHA-256 of its content.

    Of a file above 64 MiB the hash is that of sixteen pieces of 1 MiB, evenly spaced.
    """

    size: int
    sha256: str


def fingerprint(file: Location) -> Fingerprint | None:
    """The fingerprint of a file; None if it cannot be read."""
    try:
        found = os.stat(file)
        return _fingerprint(str(file), found.st_size, found.st_mtime_ns)
    except OSError:
        return None


def fingerprints(files: Sequence[Location]) -> list[Fingerprint | None]:
    """The fingerprints of many files, four at a time."""
    with ThreadPoolExecutor(4, "hash") as pool:
        return list(map_in_order(pool, fingerprint, files))


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


def copies(splits: Splits) -> list[list[Placed]]:
    """Files of equal content, in groups of two or more, each with its split."""
    groups: dict[Fingerprint, list[Placed]] = {}
    for name, part in named_parts(splits).items():
        found = fingerprints([image.path for image in part.images])
        for image, content in zip(part.images, found, strict=True):
            if content is not None:
                placed = Placed(image.file, name, text(image.label))
                groups.setdefault(content, []).append(placed)
    return [group for group in groups.values() if len(group) > 1]


def equal(copied: Sequence[Placed], fact: Literal["split", "label"]) -> str:
    """One of the copies for each of their splits, or of their labels.

    >>> equal([Placed("a.png", "train", "cat"), Placed("b.png", "test", "cat")], "split")
    'a.png (train) = b.png (test)'
    """
    first: dict[str, str] = {}
    for each in copied:
        first.setdefault(getattr(each, fact), each.file)
    return " = ".join(f"{file} ({value})" for value, file in first.items())


def leaks(splits: Splits) -> list[str]:
    """Warnings where files of equal content are in several splits, or have several labels."""
    groups = copies(splits)
    shared = [equal(group, "split") for group in groups if len({e.split for e in group}) > 1]
    doubtful = [equal(group, "label") for group in groups if len({e.label for e in group}) > 1]
    warnings = []
    if shared:
        warnings.append(
            f"warning: {len(shared)} images are in several splits, byte by byte: {shorten(shared)};"
            " figures on them are too good: remove the copies, or give them one group"
        )
    if doubtful:
        warnings.append(
            f"warning: {len(doubtful)} images have several labels, in copies that are equal byte by"
            f" byte: {shorten(doubtful)}; keep the one with the right label"
        )
    return warnings


def among(files: Sequence[Location], known: Iterable[Fingerprint]) -> list[Location]:
    """The files whose content is among known ones; only those of a known size are read."""
    wanted = set(known)
    sizes = {each.size for each in wanted}
    candidates = [file for file in files if size(file) in sizes]
    found = fingerprints(candidates)
    return [file for file, each in zip(candidates, found, strict=True) if each in wanted]


def size(file: Location) -> int | None:
    """The size of a file in bytes; None if there is no such file."""
    try:
        return os.stat(file).st_size
    except OSError:
        return None
