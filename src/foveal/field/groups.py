"""Splits by group: images that have something in common never lie on two sides."""

from collections.abc import Mapping

from foveal.errors import UserError
from foveal.field.pictures import Split

FOLDS = 5


def check_fold(fold: int) -> None:
    """Refuse a fold that does not exist.

    Raises:
        UserError: it is not one of 0 to 4.
    """
    if not 0 <= fold < FOLDS:
        raise UserError(f"--fold {fold}: choose 0 to {FOLDS - 1}")


def split_groups(sizes: Mapping[str, int], fold: int) -> dict[str, Split]:
    """Split groups of very different sizes: a fold is tested, another validates, the rest trains.

    Groups are dealt to five folds, the largest first, each to the smallest fold so far; folds are
    numbered from the smallest. The smallest one that is not tested validates.

    Args:
        sizes: number of images by group, of five groups or more.
        fold: number of the tested fold, 0 to 4.

    Returns:
        The split of each group.

    Raises:
        UserError: there is no such fold.

    >>> split_groups({"a": 5, "b": 4, "c": 4, "d": 3, "e": 1, "f": 1}, fold=0)
    {'a': 'train', 'b': 'train', 'c': 'train', 'd': 'val', 'e': 'test', 'f': 'test'}
    """
    check_fold(fold)
    folds: list[list[str]] = [[] for _ in range(FOLDS)]

    def size(members: list[str]) -> int:
        return sum(sizes[group] for group in members)

    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        min(folds, key=size).append(group)
    folds.sort(key=size)
    validation = 1 if fold == 0 else 0
    splits: dict[int, Split] = {fold: "test", validation: "val"}
    return {
        group: splits.get(number, "train")
        for group in sizes
        for number, members in enumerate(folds)
        if group in members
    }
