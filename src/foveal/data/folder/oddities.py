"""What is unusual about the images of a data set, a remark for each kind."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from foveal.data.folder.files import ImageFiles
from foveal.data.folder.table import shorten
from foveal.data.labels import class_counts
from foveal.images.header import Header

_APART = 4  # times the pixels of the median, or the fourth part


def of_headers(headers: Mapping[str, Header]) -> list[str]:
    """What the headers tell: images that differ from most, and what reading changes.

    Args:
        headers: by the name of the file.
    """
    remarks = _minority(headers, "colours", lambda header: header.colours)
    remarks += _minority(headers, "depth", lambda header: f"{header.bits}-bit")
    areas = {file: header.size[0] * header.size[1] for file, header in headers.items()}
    median = sorted(areas.values())[len(areas) // 2] if areas else 0
    kinds = {
        "turned or mirrored by EXIF, and read upright": [
            file for file, header in headers.items() if header.turned
        ],
        "with transparent pixels, which are blended with white": [
            file for file, header in headers.items() if header.transparent
        ],
        "of another format than the name says": [
            f"{file} is {header.format}" for file, header in headers.items() if header.misnamed
        ],
        f"with less than a {_APART}th of the median's pixels": [
            file for file, area in areas.items() if area * _APART < median
        ],
        f"with more than {_APART} times the median's pixels": [
            file for file, area in areas.items() if area > median * _APART
        ],
    }
    return remarks + [
        f"{len(files)} of {len(headers)} images {what}: {shorten(files)}"
        for what, files in kinds.items()
        if files
    ]


def of_parts(parts: Mapping[str, ImageFiles]) -> list[str]:
    """Classes that a part lacks, and images of one name and several endings."""
    remarks = []
    for name, part in parts.items():
        counts = class_counts(part.labels, len(part.classes))
        if none := [each for each, n in zip(part.classes, counts, strict=True) if not n]:
            remarks.append(f"no image in {name} of class {shorten(none)}")
    stems = Counter(_stem(image.file) for part in parts.values() for image in part.images)
    twins = [
        image.file
        for part in parts.values()
        for image in part.images
        if stems[_stem(image.file)] > 1
    ]
    if twins:
        remarks.append(
            f"{len(twins)} images differ from another in the ending of their name alone:"
            f" {shorten(twins)}"
        )
    return remarks


def _minority(
    headers: Mapping[str, Header], what: str, value: Callable[[Header], str]
) -> list[str]:
    """A remark where most images have one value, and others another."""
    counts = Counter(value(header) for header in headers.values())
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    return [
        f"{count} of {len(headers)} images are {other} where most are {usual}:"
        f" {shorten([file for file, header in headers.items() if value(header) == other])}"
        for other, count in counts.most_common()[1:]
    ]


def _stem(file: str) -> PurePosixPath:
    return PurePosixPath(file).with_suffix("")
