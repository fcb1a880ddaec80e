"""One HTML page about many images: what the model said, where it looked, where it went wrong.

The page holds everything it shows, so it opens without a server and can be sent as a single file.
The pictures lie beside it in full quality too. What deserves a look stands first: confident
mistakes, then whatever the model was least sure of, then files that could not be read.
"""

import base64
import io
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image as Pillow

from foveal.errors import UserError
from foveal.report import curves

EMBEDDED = 300
"""Pictures the page itself holds: 300 of at most 150 kB make a page of at most 60 MB."""

HEAVIEST = 150_000
"""Bytes of an embedded picture."""

UNSURE = 0.6
"""A prediction of a lower probability is called unsure."""


@dataclass(frozen=True)
class Entry:
    """One image in the report.

    Attributes:
        file: the name people know the image by; shown as text, never trusted.
        picture: bytes of a PNG or a JPEG file; empty where the image could not be read.
        label: the predicted class.
        probability: of the predicted class, in [0, 1].
        truth: the true class, None where nobody knows.
        correct: whether the two agree, None where nobody knows.
        error: why the image could not be read, None where it could.
        hit: whether a chosen window covers evidence, None where nobody marked any.
    """

    file: str
    picture: bytes
    label: str
    probability: float
    truth: str | None = None
    correct: bool | None = None
    error: str | None = None
    hit: bool | None = None

    @property
    def unsure(self) -> bool:
        """Whether the model itself doubts its answer."""
        return self.probability < UNSURE


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by how much they deserve a look.

    Mistakes first, the most confident ones leading; then the rest, the least confident leading;
    images that could not be read last. Equal ones stand by file name.
    """

    def place(entry: Entry) -> tuple[bool, bool, float, str]:
        mistaken = entry.correct is False
        sureness = -entry.probability if mistaken else entry.probability
        return entry.error is not None, not mistaken, sureness, entry.file

    return sorted(entries, key=place)


def write(
    directory: Path | str,
    entries: Sequence[Entry],
    *,
    title: str,
    summary: Mapping[str, Any] | None = None,
    metrics_rows: Sequence[Mapping[str, object]] | None = None,
) -> Path:
    """Write `index.html`, and every picture to `pictures/`.

    All is written aside first and moved into place when it is complete. Pictures of an earlier
    report that this one does not name are removed; other files in the folder are left alone.

    Args:
        directory: made if it is not there.
        entries: at least one.
        title: of the page.
        summary: of an evaluation: accuracy, balanced_accuracy, majority, hit_rate, hit_all_rate, n,
            per_class (class -> recall) and confusion (a row per true class, a column per predicted
            class, in the order of per_class; empty where images bear sets of classes); any of them
            may be missing.
        metrics_rows: rows of metrics.csv, for the training curves.

    Returns:
        The path of the page.

    Raises:
        UserError: there is nothing to show, or the folder cannot be written.
        ValueError: an entry has neither a picture nor an error.
    """
    if not entries:
        raise UserError(f"nothing to show in {directory}: no image was given; name at least one")
    bare = [entry.file for entry in entries if entry.error is None and not entry.picture]
    if bare:
        raise ValueError(f"an entry needs a picture or an error: {bare[:3]} have neither")
    entries, directory = ordered(entries), Path(directory)
    names = _names(entries)
    page = _page(entries, names, title, summary or {}, metrics_rows or ())
    files = {
        Path("pictures", name): e.picture for name, e in zip(names, entries, strict=True) if name
    }
    files[Path("index.html")] = page.encode("utf-8", "replace")
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        _write_all(directory, files)
    except OSError as error:
        for folder in made:
            _remove_empty(folder)
        reason = error.strerror or str(error)
        raise UserError(
            f"the report cannot be written to {directory}: {reason}; free some space or name a "
            "folder that can be written"
        ) from error
    return directory / "index.html"


def _names(entries: Sequence[Entry]) -> list[str]:
    """A plain, unique file name for every picture, in the order of the page; empty without one."""
    names = []
    for number, entry in enumerate(entries, start=1):
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(entry.file).stem)[:80]
        suffix = "jpg" if entry.picture.startswith(b"\xff\xd8") else "png"
        names.append(f"{number:05d}-{stem}.{suffix}" if entry.picture else "")
    return names


def _write_all(directory: Path, files: Mapping[Path, bytes]) -> None:
    """Write all files of a folder, or none of them."""
    directory.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".report-", dir=directory))
    try:
        (aside / "pictures").mkdir()
        for path, content in files.items():
            (aside / path).write_bytes(content)
        (directory / "pictures").mkdir(exist_ok=True)
        for path in files:
            os.replace(aside / path, directory / path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for path in (directory / "pictures").iterdir():
        ours = re.fullmatch(r"\d{5,}-[A-Za-z0-9_-]*\.(png|jpg)", path.name)
        if ours and Path("pictures", path.name) not in files:
            path.unlink()


def _remove_empty(folder: Path) -> None:
    """Remove a folder that this report made, if nothing has come to lie in it."""
    try:
        folder.rmdir()
    except OSError:
        return


def _page(
    entries: Sequence[Entry],
    names: Sequence[str],
    title: str,
    summary: Mapping[str, Any],
    metrics_rows: Sequence[Mapping[str, object]],
) -> str:
    read = [(e, name) for e, name in zip(entries, names, strict=True) if e.error is None]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    template = (resources.files("foveal.report") / "templates" / "report.html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        summary=summary,
        entries=[entry for entry, _ in read],
        cards=[(e, name, _data(embedded(e.picture), "jpeg")) for e, name in read[:EMBEDDED]],
        errors=[entry for entry in entries if entry.error is not None],
        labels=sorted({entry.label for entry, _ in read}),
        truths=sorted({entry.truth for entry, _ in read if entry.truth is not None}),
        threshold=UNSURE,
        confused=_confused(summary),
        curves=_drawn(metrics_rows),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None or not math.isfinite(share) else f"{share:.1%}"


def _confused(summary: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """How often which class was taken for which other, the most frequent first."""
    classes, counts = list(summary.get("per_class") or ()), summary.get("confusion") or ()
    pairs = [
        (int(count), truth, label)
        for truth, row in zip(classes, counts, strict=False)
        for label, count in zip(classes, row, strict=False)
        if count and truth != label
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def _drawn(metrics_rows: Sequence[Mapping[str, object]]) -> str:
    """The training curves as a data URI, empty without rows."""
    if not metrics_rows:
        return ""
    png = io.BytesIO()
    curves(metrics_rows).savefig(png, format="png")
    return _data(png.getvalue(), "png")


def embedded(picture: bytes) -> bytes:
    """The picture as a JPEG of at most 150 kB: quality first 85, then lower, then smaller."""
    if picture.startswith(b"\xff\xd8") and len(picture) <= HEAVIEST:
        return picture
    with Pillow.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    for quality, longest in ((85, 1600), (75, 1600), (70, 1280), (65, 960), (60, 640), (50, 400)):
        image.thumbnail((longest, longest))
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=quality, optimize=True, progressive=True)
        if jpeg.tell() <= HEAVIEST:
            break
    return jpeg.getvalue()


def _data(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
