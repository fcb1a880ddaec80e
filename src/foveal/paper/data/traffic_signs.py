"""Swedish Traffic Signs: which speed limit does a sign in a street scene of 960 x 1280 px show?

    Set1/annotations.txt  Set1/*.jpg     for training      (images also as Set1/Set1Part0/*.jpg)
    Set2/annotations.txt  Set2/*.jpg     for testing

An annotation is one line per image; corners are x, y of the lower right and of the upper left:

    a.jpg:VISIBLE, 616.9, 718.3, 580.9, 679.3, PROHIBITORY, 70_SIGN;MISC_SIGNS;

References:
    Larsson & Felsberg, Using Fourier Descriptors and Spatial Models for Traffic Sign Recognition,
    SCIA 2011.
"""

import math
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from foveal.data import Splits
from foveal.data.folder import ImageFiles, read_folder
from foveal.data.folder.listing import ListedImage
from foveal.data.folder.splitting import stratified
from foveal.data.folder.table import shorten, user_error
from foveal.errors import UserError
from foveal.images.locations import Location
from foveal.paper.data.download import fetch
from foveal.windows import area

CLASSES = ("EMPTY", "50", "70", "80")
SOURCE = "http://www.isy.liu.se/cvl/research/trafficSigns/swedishSignsSummer"
"""Address of the published set."""

MD5 = {"Set1": "9106a905a86209c95dc9b51d12f520d6", "Set2": "09debbc67f6cd89c1e2a2688ad1d03ca"}
"""Of the published annotations, as attention sampling's code has it; it has none of the images."""

COUNTS = {"Set1": 747, "Set2": 684}
"""Images that the label rule leaves of the published sets."""

_LIMITS = {"50_SIGN": "50", "70_SIGN": "70", "80_SIGN": "80"}


@dataclass(frozen=True)
class Sign:
    """An annotated sign.

    Attributes:
        visibility: VISIBLE, BLURRED, OCCLUDED or SIDE_ROAD.
        box: top, left, bottom, right in pixels, end excluded, rounded outwards.
        name: 70_SIGN for instance, OTHER where it cannot be told.
    """

    visibility: str
    box: tuple[int, int, int, int]
    name: str


Rule = Callable[[Sequence[Sign]], Sign]
"""Which of the visible speed limits of an image, one or more, is its label."""


def first(limits: Sequence[Sign]) -> Sign:
    """The one annotated first: the paper's rule."""
    return limits[0]


def largest(limits: Sequence[Sign]) -> Sign:
    """The one of the largest box: attention sampling's rule. The images left are the same."""
    return max(limits, key=lambda sign: int(area(torch.tensor(sign.box))))


def is_published_layout(path: Path) -> bool:
    """Whether a folder looks like the published set rather than like class folders."""
    return any((path / name).is_dir() for name in COUNTS)


def read_scenes(
    data: str | Path | None, *, classes: Sequence[str] | None = None, seed: int = 0
) -> Splits:
    """Read the published set, or other images.

    Args:
        data: folder of the set, or a folder or CSV of other images.
        classes: names of the classes of other images; None: those found.
        seed: seed of the choice of validation images.

    Raises:
        UserError: there are no data, or they are not as they should be.
    """
    if data is None:
        raise UserError(
            "--data must be given: foveal data traffic_signs --output PATH downloads the Swedish "
            "set to PATH"
        )
    if is_published_layout(Path(data)):
        return read_traffic_signs(Path(data), seed=seed)
    return read_folder(data, seed=seed, classes=classes)


def read_traffic_signs(
    path: Path, *, rule: Rule = first, validation: float = 0.15, seed: int = 0
) -> Splits:
    """Read the published set.

    An image without any sign is EMPTY, whatever miscellaneous signs are said to be in it; one with
    visible speed limits of 50, 70 or 80 has the label that the rule chooses; all others are left
    out. Boxes are those of the visible signs that show the label.

    Args:
        path: holds Set1 and Set2.
        rule: which speed limit counts where several are visible.
        validation: share of Set1 that is split off at random, stratified; the paper has none, and
            learns from all of it.
        seed: of that split.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    learn, report = (_read_set(path / name, rule) for name in COUNTS)
    generator = torch.Generator().manual_seed(seed)
    train, held = stratified(learn.labels, (validation,), generator)
    note = f"validation was split off Set1 at random, stratified, seed {seed}"
    notes = (note, *report.notes)
    return Splits(learn.subset(train, *notes), learn.subset(held), report)


def download(path: Path, source: str = SOURCE) -> None:
    """Fetch the published set, or what of it is not there yet.

    Raises:
        UserError: one line that says what went wrong and what to do.
    """
    for name in COUNTS:
        folder = path / name
        fetch(f"{source}/{name}/annotations.txt", folder / "annotations.txt", md5=MD5[name])
        annotated = [file for file, _ in read_annotations(folder / "annotations.txt")]
        missing = [file for file in annotated if _image(folder, file) is None]
        if missing:
            archive = folder / f"{name}Part0.zip"
            fetch(f"{source}/{name}/{name}Part0.zip", archive)
            _unpack(archive, set(missing))


def read_annotations(file: Path) -> list[tuple[str, list[Sign]]]:
    """The images of annotations.txt, and the signs in each, without the miscellaneous ones.

    Raises:
        UserError: it cannot be read, or a line is no annotation.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise user_error(
            f"{file}: cannot be read ({why}); download the set by: foveal data traffic_signs "
            f"--output {file.parent.parent}"
        ) from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, colon, signs = line.partition(":")
        texts = [text.strip() for text in signs.split(";")]
        parsed = [_sign(text) for text in texts if text not in ("", "MISC_SIGNS")]
        if not colon or None in parsed:
            raise user_error(
                f"{file} line {number}: not of the form NAME:VISIBLE, x, y, x, y, TYPE, NAME;..."
            )
        found.append((name.strip(), [sign for sign in parsed if sign is not None]))
    return found


def _sign(text: str) -> Sign | None:
    cells = [cell.strip() for cell in text.split(",")]
    # in the published files letters follow a number here and there
    corners = [re.match(r"-?\d+(\.\d+)?", cell) for cell in cells[1:5]]
    if len(cells) != 7 or None in corners:
        return None
    x1, y1, x0, y0 = (float(corner[0]) for corner in corners if corner is not None)
    (top, bottom), (left, right) = sorted((y0, y1)), sorted((x0, x1))
    box = (max(0, math.floor(top)), max(0, math.floor(left)), math.ceil(bottom), math.ceil(right))
    return Sign(cells[0], box, cells[6])


def _read_set(folder: Path, rule: Rule) -> ImageFiles:
    entries, evidence, missing = [], dict[Location, Tensor](), []
    for name, signs in read_annotations(folder / "annotations.txt"):
        limits = [sign for sign in signs if sign.name in _LIMITS and sign.visibility == "VISIBLE"]
        if signs and not limits:
            continue
        path = _image(folder, name)
        if path is None:
            missing.append(name)
            continue
        label = "EMPTY"
        if limits:
            shown = rule(limits).name
            label = _LIMITS[shown]
            evidence[path] = torch.tensor([sign.box for sign in limits if sign.name == shown])
        entries.append(ListedImage(path, f"{folder.name}/{name}", label, None))
    if missing:
        raise user_error(
            f"{folder}: {len(missing)} of {len(missing) + len(entries)} annotated images are "
            f"missing, {shorten(missing)}; unpack {folder.name}Part0.zip there"
        )
    notes: tuple[str, ...] = ()
    if len(entries) != (published := COUNTS[folder.name]):
        notes = (
            f"warning: {folder} leaves {len(entries)} images, the published set {published}: "
            "figures cannot be compared with those of papers",
        )
    return ImageFiles(entries, CLASSES, evidence, notes)


def _image(folder: Path, name: str) -> Path | None:
    """An image beside the annotations, or in the folder that some unpack the archive to."""
    places = (folder / name, folder / f"{folder.name}Part0" / name)
    return next((place for place in places if place.is_file()), None)


def _unpack(archive: Path, wanted: set[str]) -> None:
    """Put the wanted images of an archive beside it, each whole or not at all, and remove it."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                name = PurePosixPath(member.filename).name
                if name in wanted:
                    part = archive.parent / f".{name}.part"
                    with zipped.open(member) as packed, part.open("wb") as out:
                        shutil.copyfileobj(packed, out)
                    part.replace(archive.parent / name)
                    wanted.discard(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise UserError(
            f"{archive} was damaged ({error}) and is removed: run this again to download it"
        ) from None
    if wanted:
        raise UserError(
            f"{archive} lacks {len(wanted)} annotated images, {shorten(sorted(wanted))}: it is "
            "of another version; put them beside it from elsewhere"
        )
    archive.unlink()
