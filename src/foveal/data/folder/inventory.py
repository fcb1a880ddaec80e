"""What a data set consists of: counts, sizes, formats, copies, oddities, and what is left out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from foveal.data.dataset import Splits
from foveal.data.folder import left_out, oddities
from foveal.data.folder.files import ImageFiles
from foveal.data.folder.fingerprints import copies, equal, named_parts
from foveal.data.folder.summary import DECODED, faults
from foveal.data.folder.tree import LeftOut, scan
from foveal.data.labels import class_counts
from foveal.images import ImageError
from foveal.images.header import Header, read_header

_MANY = 20  # lines of a section that is no exact list


def inventory(path: Path, splits: Splits, more: Sequence[str] = ()) -> list[str]:
    """Describe a folder or CSV, as it was read, in lines of text.

    All headers are read, and the files of parts of up to 2000 images decoded, as before training.

    Args:
        path: of the folder or CSV.
        splits: as `read_folder` read them.
        more: oddities to add to those found.
    """
    parts = named_parts(splits)
    headers = {file: h for part in parts.values() for file, h in _headers(part).items()}
    images = [image for part in parts.values() for image in part.images]
    damaged = [
        fault for part in parts.values() for fault in faults(part, decode=len(part) <= DECODED)
    ]
    unseen = [
        f"{name}: only the headers of its {len(part)} images were read, not all pixels"
        for name, part in parts.items()
        if len(part) > DECODED
    ]
    between, within, labels = _copies(splits)
    odd = [*more, *oddities.of_parts(parts), *oddities.of_headers(headers), *labels, *unseen]
    found = scan(path)[1] if path.is_dir() else LeftOut()
    left = left_out.of_folder(found) if path.is_dir() else left_out.of_table(path, images)
    notes = [note for note in parts["train"].notes if note not in found.notes()]
    return [
        f"{path}: {len(images)} images of {len(splits.train.classes)} classes",
        "",
        *_table(parts),
        "",
        *_section("sizes", _sizes(list(headers.values()))),
        *_section("formats", _formats(list(headers.values()))),
        *_section("in several parts, byte by byte", _some(between)),
        *_section("several times in a part, byte by byte", _some(within)),
        *_section("oddities", odd),
        *_section("cannot be used", damaged),
        *_section("left out", left),
        *_section("remarks", notes),
    ]


def _headers(part: ImageFiles) -> dict[str, Header]:
    """The headers of the images that can be used, by file."""
    found = {}
    for image in part.images:
        try:
            found[image.file] = read_header(image.path)
        except ImageError:
            continue  # among those that cannot be used
    return found


def _table(parts: dict[str, ImageFiles]) -> list[str]:
    """Images by class and part; with several classes per image, an image counts for each."""
    classes = next(iter(parts.values())).classes
    counts = [class_counts(part.labels, len(classes)) for part in parts.values()]
    rows = [("class", *parts, "all")]
    rows += [
        (name, *map(str, row), str(sum(row))) for name, *row in zip(classes, *counts, strict=True)
    ]
    sizes = [len(part) for part in parts.values()]
    rows.append(("images", *map(str, sizes), str(sum(sizes))))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, wide, strict=True))
        )
        for row in rows
    ]


def _sizes(headers: Sequence[Header]) -> list[str]:
    """Height x width of the smallest, of the median sides and of the largest."""
    if not headers:
        return []
    counts = Counter(header.size for header in headers)
    by_area = sorted(counts, key=lambda size: (size[0] * size[1], size))
    sides = zip(*(header.size for header in headers), strict=True)
    median = tuple(sorted(side)[len(headers) // 2] for side in sides)
    named = {"smallest": by_area[0], "median": median, "largest": by_area[-1]}
    if len(counts) == 1:
        return [f"all {_px(median)}"]
    return [
        ", ".join(f"{name} {_px(size)}" for name, size in named.items()),
        f"{len(counts)} different, the most frequent {_px(counts.most_common(1)[0][0])}"
        f" ({counts.most_common(1)[0][1]} images)",
    ]


def _px(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]} px"


def _formats(headers: Sequence[Header]) -> list[str]:
    counts = Counter(str(header) for header in headers)
    return [f"{count} {form}" for form, count in counts.most_common()]


def _copies(splits: Splits) -> tuple[list[str], list[str], list[str]]:
    """Files of equal content in several parts, several times in a part, and with several labels."""
    between, within, labels = [], [], []
    for group in copies(splits):
        parts = Counter(each.split for each in group)
        if len(parts) > 1:
            between.append(equal(group, "split"))
        for part, count in parts.items():
            if count > 1:
                names = " = ".join(each.file for each in group if each.split == part)
                within.append(f"{names} ({part})")
        if len({each.label for each in group}) > 1:
            labels.append(f"several labels for equal images: {equal(group, 'label')}")
    return between, within, labels


def _some(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _MANY} more"] if len(lines) > _MANY else []
    return lines[:_MANY] + more


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if len(lines) < 2:
        return [f"{title}: {''.join(lines) or 'none'}"]
    return [f"{title}:", *(f"  {line}" for line in lines)]
