"""Your own images: class folders or a CSV, with or without splits, groups and boxes.

    photos/                      photos/                 labels.csv: file,label,split,group
      cat/  1.jpg 2.jpg ...        train/ cat/ dog/                  1.jpg,cat,train,home
      dog/  1.jpg 2.jpg ...        val/   cat/ dog/                  2.jpg,cat|dog,test,zoo
      boxes.csv (optional)         test/  cat/ dog/      boxes.csv (optional)

`read_folder` reads the splits, or makes them; `check` opens every image before a long training
starts; `describe` sums up what was read. Every mistake in the data is reported in one line.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Generator

from foveal.data.dataset import Splits
from foveal.data.folder.dealing import deal
from foveal.data.folder.files import ImageFiles, read_whole
from foveal.data.folder.splitting import folds as fold_indices
from foveal.data.folder.splitting import stratified
from foveal.data.folder.summary import check, describe
from foveal.data.folder.table import shorten, user_error
from foveal.data.labels import bearing, class_counts, is_multilabel

__all__ = ["ImageFiles", "check", "describe", "read_folder", "read_whole"]


def read_folder(
    path: str | Path,
    *,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    multilabel: bool = False,
    validation: float = 0.15,
    test: float = 0.15,
    folds: int | None = None,
    fold: int = 0,
) -> Splits:
    """Read a folder or CSV as splits for training, validation and test.

    Given splits stay as they are: a missing validation split is taken out of train, and a missing
    test split stays missing. Without any, validation and test are taken out of all images. The
    random splits are stratified: every class of three or more images is in all of them. Images of
    one group stay together, and every part is as close to its share of every class as this allows.

    Args:
        path: see `read_whole`.
        seed: seed of the random split; the same images and seed give the same splits.
        classes: see `read_whole`.
        multilabel: see `read_whole`.
        validation: share of the images for validation, in (0, 1); with folds, of those not tested.
        test: share of the images for test, in [0, 1), 0 for none; the sum of both is below 1.
            Unused with folds.
        folds: number of parts, 2 or more, that take turns as the test split (cross-validation);
            None: one split. Given train and validation splits are pooled; a given test split is
            refused.
        fold: the part to test on, 0 to folds - 1. The test splits of all folds are a partition of
            the images.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    _check_shares(validation, test if folds is None else 0.0)
    if folds is not None and not (folds >= 2 and 0 <= fold < folds):
        raise user_error(
            f"folds={folds}, fold={fold}; give 2 folds or more, and fold from 0 to folds - 1"
        )
    whole = read_whole(path, classes=classes, multilabel=multilabel)
    given: dict[str | None, list[int]] = {}
    for index, image in enumerate(whole.images):
        given.setdefault(image.split, []).append(index)
    generator = torch.Generator().manual_seed(seed)
    how = f"random stratified split{' by group' if whole.groups else ''}, seed {seed}"
    if folds is not None:
        if "test" in given:
            raise user_error(
                f"{path}: a test split is given, and each of the folds would test on a part of all"
                " images; leave out the folds, or cross-validate on data without the test images"
            )
        pooled = "" if None in given else f"given splits ({', '.join(map(str, given))}) pooled, "
        parts = _cross_validation(path, whole, folds, fold, validation, generator)
        return _splits(path, whole, parts, f"fold {fold} of {folds}: {pooled}{how}")
    if None in given:
        parts = _divide(whole, (1 - validation - test, validation, test), generator)
        return _splits(path, whole, parts, f"no splits were given: {how}")
    if "train" not in given:
        raise user_error(f"{path}: no train split, only {', '.join(map(str, given))}; add one")
    _check_groups(path, whole)
    train, held_out, note = given["train"], given.get("validation", []), "splits as given"
    if not held_out:
        train, held_out = _divide(whole, (1 - validation, validation), generator, among=train)
        note = f"validation: {how.replace('split', 'split of train', 1)}"
    return _splits(path, whole, [train, held_out, given.get("test", [])], note)


def _check_shares(validation: float, test: float) -> None:
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise user_error(
            f"validation={validation} and test={test}: give fractions, validation above 0 and "
            "their sum below 1"
        )


def _divide(
    whole: ImageFiles,
    shares: Sequence[float],
    generator: Generator,
    among: Sequence[int] | None = None,
) -> list[list[int]]:
    """Split the images of some indices by shares; groups stay together."""
    indices = list(range(len(whole)) if among is None else among)
    labels = whole.labels[indices]
    if whole.groups is None and not is_multilabel(labels):
        parts = stratified(labels, shares[1:], generator)
    else:
        parts = deal(
            bearing(labels, len(whole.classes)), _groups(whole, indices), shares, generator
        )
    return [[indices[i] for i in part] for part in parts]


def _cross_validation(
    path: str | Path,
    whole: ImageFiles,
    folds: int,
    fold: int,
    validation: float,
    generator: Generator,
) -> list[list[int]]:
    """Train, validation and test of one fold."""
    units = len(whole) if whole.groups is None else len(set(whole.groups))
    if folds > units:
        what = "images" if whole.groups is None else "groups"
        raise user_error(f"{path}: folds={folds}, but there are {units} {what}; give fewer folds")
    if whole.groups is None and not is_multilabel(whole.labels):
        parts = fold_indices(whole.labels, folds, generator)
    else:
        parts = _divide(whole, [1 / folds] * folds, generator)
    _check_folds(path, whole, parts)
    others = sorted(i for number, part in enumerate(parts) if number != fold for i in part)
    return [*_divide(whole, (1 - validation, validation), generator, among=others), parts[fold]]


def _check_folds(path: str | Path, whole: ImageFiles, parts: Sequence[list[int]]) -> None:
    """Refuse folds of which one could not be trained or tested, before the first is trained."""
    if not all(parts):
        raise user_error(f"{path}: folds={len(parts)}, but one would be empty; give fewer folds")
    counts = [class_counts(whole.labels[part], len(whole.classes)) for part in parts]
    folds_of = [sum(count > 0 for count in column) for column in zip(*counts, strict=True)]
    if alone := [repr(name) for name, n in zip(whole.classes, folds_of, strict=True) if n == 1]:
        what = "images" if whole.groups is None else "groups"
        raise user_error(
            f"{path}: all images of class {shorten(alone)} fall into one fold, which leaves none to"
            f" learn from when it is tested; two {what} of a class are needed, three are better"
        )


def _groups(whole: ImageFiles, indices: Sequence[int]) -> Sequence[object]:
    return indices if whole.groups is None else [whole.groups[i] for i in indices]


def _check_groups(path: str | Path, whole: ImageFiles) -> None:
    """Refuse given splits that divide a group: the test would be on what was trained on."""
    splits: dict[str, set[str]] = {}
    for image in whole.images:
        if image.group is not None:
            splits.setdefault(image.group, set()).add(str(image.split))
    divided = [
        f"{group!r} ({', '.join(sorted(parts))})"
        for group, parts in splits.items()
        if len(parts) > 1
    ]
    if divided:
        raise user_error(
            f"{path}: {len(divided)} of {len(splits)} groups are in several splits:"
            f" {shorten(divided)}; move each to one, or leave out the column split or group"
        )


def _splits(path: str | Path, whole: ImageFiles, indices: Sequence[list[int]], note: str) -> Splits:
    train, validation, test = indices
    counts = class_counts(whole.labels[train], len(whole.classes))
    occurring = class_counts(whole.labels, len(whole.classes))
    if untrained := [
        repr(name)
        for name, n, m in zip(whole.classes, counts, occurring, strict=True)
        if m and not n
    ]:
        raise user_error(
            f"{path}: no image of class {shorten(untrained)} in train; move some there"
        )
    if not validation:
        what = "groups" if whole.groups else "images"
        raise user_error(f"{path}: too few {what} for validation; two of a class are needed")
    return Splits(
        whole.subset(train, note),
        whole.subset(validation, note),
        whole.subset(test, note) if test else None,
    )
