"""What was read, in one line; and whether every image can be opened."""

import os
from collections.abc import Mapping
from functools import lru_cache

import torch

from foveal.data.dataset import Dataset, Splits
from foveal.data.folder.files import ImageFiles
from foveal.data.folder.table import user_error
from foveal.data.labels import class_counts, is_multilabel
from foveal.images import FileImage, ImageError
from foveal.images.locations import Location

DECODED = 2000  # images of a part that are decoded before training begins, to find damaged ones


def check(dataset: Dataset, *, decode: bool = False) -> None:
    """Open the header of every image file, so that training does not fail after an hour.

    Args:
        dataset: images in memory are not checked.
        decode: also decode all pixels, which finds truncated files. Takes about as long as loading
            the images of one epoch. Of large files that are read in parts, training does not
            decode all pixels either; that they are truncated is known from their headers.

    Raises:
        UserError: how many files are bad, the first three, and why.
    """
    bad = faults(dataset, decode=decode)
    if bad:
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise user_error(
            f"{len(bad)} of {len(dataset)} images cannot be used: {'; '.join(bad[:3])}{more}"
        )


def faults(dataset: Dataset, *, decode: bool = False) -> list[str]:
    """Why each image that cannot be used cannot be; see `check`."""
    found = []
    for index in range(len(dataset)):
        try:
            image = dataset[index].image
        except ImageError as error:
            found.append(str(error))
        else:
            fault = _fault(image.path, decode) if isinstance(image, FileImage) else None
            found += [] if fault is None else [fault]
    return found


def _fault(path: Location, decode: bool) -> str | None:
    """Why a file cannot be used; asked again about the same content, it is not read again."""
    state: tuple[int, ...] = ()
    try:
        stat = os.stat(path)
        state = stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode
    except OSError:
        pass  # said when it is read
    return _found_fault(path, decode, state)


@lru_cache(maxsize=2**18)
def _found_fault(path: Location, decode: bool, _state: tuple[int, ...]) -> str | None:
    try:
        image = FileImage(path)
        _ = image.size
        if decode and not (image.in_parts and image.is_large):
            image.decode()
    except ImageError as error:
        return str(error)
    return None


def describe(splits: Splits) -> str:
    """Sum up in one line: number of images by split and class, their sizes, and notes.

    The sizes are those of up to 200 evenly spaced images per split; only headers are read.
    """
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    given = {name: dataset for name, dataset in named.items() if dataset is not None}
    classes = splits.train.classes
    counts = {name: class_counts(each.labels, len(classes)) for name, each in given.items()}
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    images = sum(map(len, given.values()))
    ordered = sorted(range(len(classes)), key=lambda label: -total[label])
    shown = ordered if len(ordered) <= 10 else [*ordered[:3], *ordered[-3:]]
    per_class = [f"{classes[c]} {'/'.join(str(n[c]) for n in counts.values())}" for c in shown]
    if len(shown) < len(ordered):
        per_class.insert(3, f"... {len(ordered) - 6} more ...")
    sizes = {d[i].image.size for d in given.values() for i in _evenly(len(d), 200)}
    smallest, largest = (f(sizes, key=lambda s: s[0] * s[1]) for f in (min, max))
    notes = splits.train.notes if isinstance(splits.train, ImageFiles) else ()
    facts = [
        f"{images} images of {len(classes)} classes",
        ", ".join(f"{name} {len(dataset)}" for name, dataset in given.items())
        + ("" if "test" in given else ", no test split"),
        f"per class ({'/'.join(given)}): {', '.join(per_class)}",
        f"most frequent class {classes[ordered[0]]} ({total[ordered[0]] / images:.1%})",
        *_describe_sets(given),
        f"height x width {smallest[0]} x {smallest[1]}"
        + ("" if smallest == largest else f" to {largest[0]} x {largest[1]}")
        + " px",
        *notes,
    ]
    return "; ".join(facts)


def _describe_sets(given: Mapping[str, Dataset]) -> list[str]:
    """What there is to say about sets of classes and about groups."""
    facts = []
    labels = [each.labels for each in given.values()]
    if is_multilabel(labels[0]):
        per_image = torch.cat(labels).sum(dim=1)
        facts.append(
            f"several classes per image: {int((per_image > 1).sum())} images have more than one,"
            f" {int((per_image == 0).sum())} have none"
        )
    groups = [d.groups for d in given.values() if isinstance(d, ImageFiles) and d.groups]
    if groups:
        facts.append(f"{len(set().union(*groups))} groups")
    return facts


def _evenly(length: int, most: int) -> list[int]:
    """At most `most` evenly spaced indices."""
    count = min(length, most)
    return [index * length // count for index in range(count)]
