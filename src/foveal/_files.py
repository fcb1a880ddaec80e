"""Files that are replaced as a whole or not at all; errors of the disk become one line.

Nothing is written through a link: a folder that came from elsewhere may hold links that lead out
of it.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import NotWritten, UserError


def write(file: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file, all of it or nothing.

    Args:
        file: in a folder that exists.
        content: all of it.
        durable: wait for the disk, so that the file outlives a power failure. Of many files that
            can be written again, it costs more than they do.

    Raises:
        UserError: it cannot be written.
    """
    temporary = _beside(file)
    state = "what was there is intact" if file.exists() else ""
    with explained(file, state, temporary=temporary):
        remove(temporary)  # of a process that was killed
        if durable:
            write_through(temporary, content)
        else:
            with temporary.open("xb") as out:
                out.write(content)
        temporary.replace(file)


def check_writable(folder: Path) -> None:
    """Whether a folder exists and can be written into, or could be made; nothing is made.

    Raises:
        OSError: as making it, or a file in it, would raise.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    for wrong, number in ((not place.is_dir(), errno.ENOTDIR), (not _is_open(place), errno.EACCES)):
        if wrong:
            raise OSError(number, os.strerror(number), str(place))


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def write_through(file: Path, content: bytes) -> None:
    """Write a new file to the disk itself: a later move must not outlive it in a power failure."""
    with file.open("xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def no_links(path: str, flags: int) -> int:
    """Open a file as `os.open` does, but no link; for the argument `opener` of `open`.

    Raises:
        OSError: as `os.open` does; of a link, `ELOOP`.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def check_no_links(folder: Path) -> None:
    """Refuse a folder with links in it, before it is written into.

    Raises:
        UserError: names the first link.
    """
    for place, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            if (found := Path(place, name)).is_symlink():
                raise UserError(
                    f"{found} is a link, and nothing is written through links in {folder}: put "
                    "what it leads to in its place, or remove it"
                )


def remove(place: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink()


def write_all(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Write several files of a folder; none is replaced before all of them are on the disk.

    Until then they lie in the folder `.new`. What a killed program left there is removed. A link
    in the place of a file is replaced; in the place of a folder, it is an error.

    Args:
        folder: made if it does not exist, and removed again if it cannot be written.
        files: content by path relative to the folder.

    Raises:
        UserError: they cannot be written.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        with explained(folder, "" if missing else "what was there is intact"):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / ".new"
            try:
                for path in files:
                    _check_parents(folder, path)
                remove(temporary)
                temporary.mkdir()
                for path, content in files.items():
                    (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                    write_through(temporary / path, content)
                for path in files:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (temporary / path).replace(folder / path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except UserError:
        for parent in missing:
            with suppress(OSError):  # something else lies in it by now
                parent.rmdir()
        raise


def _check_parents(folder: Path, path: Path) -> None:
    """Refuse a link between a folder and a file in it."""
    for parent in (folder / path).parents:
        if parent == folder:
            return
        if parent.is_symlink():
            raise UserError(f"{parent} is a link, and nothing is written through it: remove it")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` when the block ends without an error.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there is something already: choose another --output")
    folder = folder.resolve()
    temporary = _beside(folder)
    try:
        with explained(folder):
            remove(temporary)  # of a process that was killed
            temporary.mkdir(parents=True)
        yield temporary
        with explained(folder):
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def explained(
    place: Path, state: str | Callable[[], str] = "", temporary: Path | None = None
) -> Iterator[None]:
    """Turn an error of the operating system into one line, and remove what was half written.

    Args:
        place: what is being written.
        state: of what is there; a function is asked after the error.
        temporary: what was half written.

    Raises:
        NotWritten: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if temporary is not None:
            remove(temporary)
        if error.errno == errno.ELOOP:
            raise NotWritten(
                f"{place} is a link, and nothing is written through links: name what it leads to, "
                "or remove it"
            ) from error
        there = state() if callable(state) else state
        intact = f"; {there}" if there else ""
        raise NotWritten(
            f"{place}: cannot be written ({error.strerror}){intact}: free some space there, or "
            "choose another --output"
        ) from error


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.new")
