"""Which files of a folder count: one rule, for training, evaluation, prediction and explanation.

A file counts if it is a regular file, or a link to one, whose name ends like an image; so does a
folder `.zarr`. Other folders are entered, and links to folders too. Left out and counted are:
hidden and system files and folders, links that lead back to a folder above them, special files
such as pipes, what foveal wrote (runs and pages), and files that do not end like an image. A folder
that cannot be read is an error.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from foveal.data.folder.table import shorten, user_error
from foveal.images.locations import is_there, is_zarr

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".jp2", ".ppm", ".pgm"),
        *(".zarr", ".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide"),
    )
)
"""Endings of image files, in lower case."""

_SYSTEM = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
        *("lost+found", "thumbs.db", "desktop.ini"),
    )
)


@dataclass
class LeftOut:
    """What a scan left out, by the reason; names relative to the folder that was scanned.

    Attributes:
        others: files that do not end like an image.
        hidden: hidden and system files and folders.
        loops: links that lead back to a folder above them.
        special: pipes, sockets and devices that end like an image.
        written: folders that foveal wrote.
        boxes: files `boxes.csv`, of which that beside the class or split folders is read.
    """

    others: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """What was left out, a remark for each reason; of boxes there is none."""
        endings = Counter(_ending(name) for name in self.others)
        kinds = [f"{count} {kind}" for kind, count in endings.most_common()]
        return tuple(
            f"ignored {len(names)} {what} ({shorten(kinds if names is self.others else names)})"
            for what, names in self.by_reason().items()
        )

    def by_reason(self) -> dict[str, list[str]]:
        """The names by what they are, in words; of boxes there is nothing."""
        reasons = {
            "other files": self.others,
            "hidden or system files and folders": self.hidden,
            "links back to a folder above them": self.loops,
            "special files": self.special,
            "folders written by foveal": self.written,
        }
        return {what: names for what, names in reasons.items() if names}


def _ending(name: str) -> str:
    path = PurePosixPath(name)
    return path.suffix.lower() or path.name


@dataclass(frozen=True)
class Folder:
    """A folder, and what of its content counts.

    Attributes:
        path: of the folder, as it was reached.
        children: folders and image files, in natural order.
    """

    path: Path
    children: tuple["Folder | Path", ...]

    @property
    def folders(self) -> list["Folder"]:
        """The folders directly in it."""
        return [child for child in self.children if isinstance(child, Folder)]

    @property
    def images(self) -> list[Path]:
        """The images directly in it."""
        return [child for child in self.children if isinstance(child, Path)]

    def all_images(self) -> Iterator[Path]:
        """The images in it and below."""
        for child in self.children:
            if isinstance(child, Folder):
                yield from child.all_images()
            else:
                yield child


def scan(root: Path) -> tuple[Folder, LeftOut]:
    """Find what counts in a folder and below; no image is opened.

    Raises:
        UserError: a folder cannot be read.
    """
    left_out = LeftOut()
    return _scan(root, root, (root.resolve(),), left_out), left_out


def list_entries(folder: Path) -> list["os.DirEntry[str]"]:
    """What lies directly in a folder, in natural order.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: natural_key(entry.name))
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise user_error(f"{folder}: {reason}; make the folder readable, or move it away") from None


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or one of the system."""
    return name.startswith(".") or name.lower() in _SYSTEM


def is_image(file: PurePath) -> bool:
    """Whether the name of a file ends like an image."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def suffixes() -> str:
    """The endings of image files, for messages."""
    return " ".join(sorted(IMAGE_SUFFIXES))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key of the natural order, in which 10 comes after 9.

    >>> sorted(["a10", "a9", "B1"], key=natural_key)
    ['a9', 'a10', 'B1']
    """
    pieces = re.split(r"(\d+)", name)
    return [_number(p) if p.isdecimal() else (-1, p.casefold()) for p in pieces] + [(-1, name)]


def _number(text: str) -> tuple[int, str]:
    """Sort key of a number of any length, which Python does not convert beyond 4300 digits."""
    digits = "".join(str(unicodedata.decimal(digit)) for digit in text).lstrip("0")
    return len(digits), digits


def _scan(root: Path, folder: Path, above: tuple[Path, ...], left_out: LeftOut) -> Folder:
    """Scan a folder; `above` are the real paths from the root down to it."""
    children: list[Folder | Path] = []
    for entry in list_entries(folder):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if is_hidden(entry.name):
            left_out.hidden.append(name)
        elif _is_folder(entry) and not is_zarr(path):
            real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
            if any(real == each or real in each.parents for each in above):
                left_out.loops.append(name)
            elif _is_written(path):
                left_out.written.append(f"{name}/")
            else:
                written = len(left_out.written)
                child = _scan(root, path, (*above, real), left_out)
                if len(left_out.written) == written or any(child.all_images()):
                    children.append(child)
        elif not is_image(path):
            (left_out.boxes if entry.name == "boxes.csv" else left_out.others).append(name)
        # a broken link is an image that is missing
        elif is_there(path) or not os.path.exists(path):
            children.append(path)
        else:
            left_out.special.append(name)
    return Folder(folder, tuple(children))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_written(folder: Path) -> bool:
    """Whether foveal wrote it: the folder of a run, or of a page."""
    if all(os.path.isfile(folder / name) for name in ("recipe.yaml", "versions")):
        return True
    try:
        with (folder / "index.html").open("rb") as page:
            return b'<meta name="generator" content="foveal">' in page.read(2000)
    except OSError:
        return False
