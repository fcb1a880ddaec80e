"""One HTML page about many images: predictions, mistakes, and where the model looked.

The page contains everything it shows: it opens without a server and can be sent as a single file.
The pictures are also beside it in full quality. Confident mistakes come first, then uncertain
predictions, then files that could not be read.
"""

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image as Pillow

from foveal._files import explained, write_all
from foveal._progress import duration
from foveal.errors import UserError
from foveal.report.learning import Learning
from foveal.report.text import LOOKS
from foveal.report.training_curves import plot_training

EMBEDDED = 300
"""Pictures in the page itself: 300 of at most 150 kB make a page of at most 60 MB."""

HEAVIEST = 150_000
"""Largest size of an embedded picture in bytes."""

UNSURE = 0.6
"""A prediction with a lower probability is called unsure."""


@dataclass(frozen=True)
class Card:
    """One image on the page.

    Attributes:
        file: name of the image; shown as text, never as HTML.
        picture: content of a PNG or JPEG file; empty if the image could not be read.
        label: the predicted class.
        probability: probability of the predicted class, in [0, 1].
        truth: the true class, None if unknown.
        correct: whether the two agree, None if unknown.
        error: why the image could not be read, None if it could.
        hit: whether some window covers a box, None without boxes.
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
        """Whether the probability of the prediction is low."""
        return self.probability < UNSURE


def sort_cards(cards: Iterable[Card]) -> list[Card]:
    """Mistakes first, the most confident one leading; then the others, the least confident leading.

    Images that could not be read are last. Equal ones are sorted by file name.
    """

    def key(card: Card) -> tuple[bool, bool, float, str]:
        mistake = card.correct is False
        confidence = -card.probability if mistake else card.probability
        return card.error is not None, not mistake, confidence, card.file

    return sorted(cards, key=key)


def write_page(
    directory: Path | str,
    cards: Sequence[Card],
    *,
    title: str,
    summary: Mapping[str, Any] | None = None,
    metrics_rows: Sequence[Mapping[str, object]] | None = None,
    learning: Learning | None = None,
) -> Path:
    """Write `index.html`, and every picture to `pictures/`.

    Nothing is replaced before everything is written. Pictures of an earlier page are removed;
    other files in the folder are left alone.

    Args:
        directory: folder of the page, created if it does not exist.
        cards: at least one image.
        title: title of the page.
        summary: `Report.summary()` of an evaluation; any of its keys may be missing, but a
            `confusion` needs the `classes` of its rows and columns.
        metrics_rows: rows of metrics.csv, for the training curves.
        learning: what the phases of the training came to.

    Returns:
        The path of the page.

    Raises:
        UserError: there is nothing to show, or the folder cannot be written.
        ValueError: a card has neither a picture nor an error, or a confusion has no classes.
    """
    if not cards:
        raise UserError(f"nothing to show in {directory}: no image was given; name at least one")
    bare = [card.file for card in cards if card.error is None and not card.picture]
    if bare:
        raise ValueError(f"a card needs a picture or an error: {bare[:3]} have neither")
    summary = summary or {}
    if summary.get("confusion") and len(summary.get("classes", ())) != len(summary["confusion"]):
        raise ValueError(
            f"a confusion matrix of {len(summary['confusion'])} rows needs as many classes: got "
            f"{list(summary.get('classes', ()))}"
        )
    cards, directory = sort_cards(cards), Path(directory)
    names = _file_names(cards)
    page = _render(cards, names, title, summary, metrics_rows or (), learning or Learning())
    files = {Path("pictures", n): c.picture for n, c in zip(names, cards, strict=True) if n}
    files[Path("index.html")] = page.encode("utf-8", "replace")
    write_all(directory, files)
    with explained(directory):
        (directory / "pictures").mkdir(exist_ok=True)
        _remove_earlier(directory / "pictures", names)
    return directory / "index.html"


def _file_names(cards: Sequence[Card]) -> list[str]:
    """A plain, unique file name for every picture, in the order of the page; "" without one."""
    names = []
    for number, card in enumerate(cards, start=1):
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(card.file).stem)[:80]
        suffix = "jpg" if card.picture.startswith(b"\xff\xd8") else "png"
        names.append(f"{number:05d}-{stem}.{suffix}" if card.picture else "")
    return names


def _remove_earlier(pictures: Path, keep: Sequence[str]) -> None:
    """Remove the pictures of an earlier page."""
    for path in pictures.iterdir():
        is_ours = re.fullmatch(r"\d{5,}-[A-Za-z0-9_-]*\.(png|jpg)", path.name)
        if is_ours and path.name not in keep:
            path.unlink()


def _render(
    cards: Sequence[Card],
    names: Sequence[str],
    title: str,
    summary: Mapping[str, Any],
    metrics_rows: Sequence[Mapping[str, object]],
    learning: Learning,
) -> str:
    read = [(card, name) for card, name in zip(cards, names, strict=True) if card.error is None]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "jpeg": _jpeg_uri, "duration": duration}
    template = (resources.files("foveal.report") / "templates" / "report.html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        summary=summary,
        cards=[card for card, _ in read],
        shown=[
            (card, name, _data_uri(light_jpeg(card.picture), "jpeg"))
            for card, name in read[:EMBEDDED]
        ],
        errors=[card for card in cards if card.error is not None],
        labels=sorted({card.label for card, _ in read}),
        truths=sorted({card.truth for card, _ in read if card.truth is not None}),
        threshold=UNSURE,
        confusions=_confusions(summary),
        curves=_curves(metrics_rows, learning),
        looks_meanings=LOOKS,
        learning=learning,
        boxed=[pair for pair in learning.pairs if pair.hit_before is not None],
    )


def _jpeg_uri(picture: Pillow.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=88)
    return _data_uri(content.getvalue(), "jpeg")


def _percent(share: float | None) -> str:
    return "–" if share is None or not math.isfinite(share) else f"{share:.1%}"


def _confusions(summary: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """Count, true class and predicted class of every kind of mistake, most frequent first."""
    counts = summary.get("confusion") or ()
    classes = summary["classes"] if counts else ()
    pairs = [
        (int(count), truth, label)
        for truth, row in zip(classes, counts, strict=True)
        for label, count in zip(classes, row, strict=True)
        if count and truth != label
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def _curves(metrics_rows: Sequence[Mapping[str, object]], learning: Learning) -> str:
    """The training curves as a data URI, empty without rows."""
    if not metrics_rows:
        return ""
    png = io.BytesIO()
    plot_training(metrics_rows, learning.reading).savefig(png, format="png")
    return _data_uri(png.getvalue(), "png")


def light_jpeg(picture: bytes) -> bytes:
    """The picture as a JPEG of at most 150 kB: first at lower quality, then smaller."""
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


def _data_uri(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
