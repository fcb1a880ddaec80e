"""Files from the web: whole or not at all, checked, and gone on with after a cut."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.progress import DownloadColumn, TextColumn, TransferSpeedColumn

from foveal._progress import progress_bar
from foveal.errors import UserError

_PIECE = 2**18  # bytes


def fetch(url: str, file: Path, *, md5: str | None = None, timeout: float = 60.0) -> None:
    """Fetch a file, unless it is there.

    What has come lies beside it as NAME.part; a later call asks only for what is missing.

    Args:
        url: where it is.
        file: where it goes; its folder is made.
        md5: that it must have, in hexadecimal; None: any. A file that has another is no file.
        timeout: seconds without an answer after which the server counts as gone.

    Raises:
        UserError: one line that says what went wrong and what to do.
    """
    if file.is_file():
        if md5 is not None and _md5(file) != md5:
            raise UserError(
                f"{file} is damaged or of another version: its MD5 is {_md5(file)}, not {md5}; "
                "remove it and run the same again"
            )
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{file.parent}: no folder can be made there ({error.strerror}); choose another"
        ) from None
    part = file.with_name(f"{file.name}.part")
    _complete(url, file, part, timeout)
    if md5 is not None and (met := _md5(part)) != md5:
        part.unlink()
        raise UserError(
            f"what {url} gave is damaged or of another version: its MD5 is {met}, not {md5}; run "
            f"the same again, or put the file at {file} from elsewhere"
        )
    part.replace(file)


def _complete(url: str, file: Path, part: Path, timeout: float) -> None:
    """Fetch what the part lacks."""
    have = part.stat().st_size if part.is_file() else 0
    asked = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        # an opener of our own, since the common one keeps the proxies it first met
        answer = urllib.request.build_opener().open(asked, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and _total(error.headers) == have:
            return
        if error.code == 416:  # more than the whole: of another version
            part.unlink()
            return _complete(url, file, part, timeout)
        raise UserError(
            f"{url}: the server answers {error.code} {error.reason}; {_by_hand(url, file)}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{urlsplit(url).netloc} cannot be reached ({_reason(error)}); {_by_hand(url, file)}"
        ) from None
    with answer:
        resumed = answer.status == 206
        total = _total(answer.headers)
        with part.open("ab" if resumed else "wb") as out:
            for piece in _tracked(_pieces(answer), file.name, total, have if resumed else 0):
                out.write(piece)
    if total is not None and part.stat().st_size < total:
        raise _cut(url, "it ended early")


def _pieces(answer: Any) -> Iterator[bytes]:
    """What comes, piece by piece."""
    while True:
        try:
            piece = answer.read1(_PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise _cut(answer.url, _reason(error)) from None
        if not piece:
            return
        yield piece


def _cut(url: str, why: str) -> UserError:
    return UserError(
        f"{url}: the connection was lost ({why}); run the same again to go on from there"
    )


def _total(headers: Any) -> int | None:
    """The bytes of the whole file, where the server says so."""
    ranged = re.search(r"/(\d+)$", headers.get("Content-Range") or "")
    size = ranged[1] if ranged else headers.get("Content-Length")
    return None if size is None else int(size)


def _tracked(pieces: Iterator[bytes], name: str, total: int | None, have: int) -> Iterator[bytes]:
    """The pieces, with a bar on standard error where somebody watches it."""
    columns = (TextColumn(name), DownloadColumn(), TransferSpeedColumn())
    with progress_bar(*columns) as progress:
        task = progress.add_task(name, total=total, completed=have)
        for piece in pieces:
            yield piece
            progress.advance(task, len(piece))


def _by_hand(url: str, file: Path) -> str:
    return f"fetch {url} on a machine that can, put it at {file}, and run the same again"


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
