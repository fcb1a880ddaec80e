"""Dividing labelled images at random so that every part has its share of every class."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Generator, Tensor


def stratified(
    labels: Int[Tensor, " n"], shares: Sequence[float], generator: Generator
) -> list[list[int]]:
    """Divide 0..n-1 into a rest and one part per share, class by class.

    Of a class of m images a part takes round(share x m), and at least one if its share is not
    zero, as long as one is left for the rest: so a class of three or more is in the rest and in two
    parts.

    Args:
        labels: class numbers.
        shares: of the later parts, each in [0, 1), together below 1.
        generator: on the CPU.

    Returns:
        The rest first, then the parts, each in ascending order.
    """
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten()  # (m,)
        members = members[torch.randperm(len(members), generator=generator)]
        counts = _counts(len(members), shares)
        pieces = members.split([len(members) - sum(counts), *counts])
        for part, piece in zip(parts, pieces, strict=True):
            part += piece.tolist()
    return [sorted(part) for part in parts]


def folds(labels: Int[Tensor, " n"], count: int, generator: Generator) -> list[list[int]]:
    """Divide 0..n-1 into folds of equal size but for one, each with its share of every class.

    Args:
        labels: class numbers.
        count: of the folds, 1 or more.
        generator: on the CPU.

    Returns:
        The folds, each in ascending order.
    """
    order = torch.randperm(len(labels), generator=generator)
    dealt = order[labels[order].argsort(stable=True)]  # class after class, each in random order
    return [sorted(dealt[fold::count].tolist()) for fold in range(count)]


def _counts(members: int, shares: Sequence[float]) -> list[int]:
    counts = [max(1, round(share * members)) if share > 0 else 0 for share in shares]
    while sum(counts) > members - 1:
        # the last of the largest gives way
        largest = max(range(len(counts)), key=lambda part: (counts[part], part))
        counts[largest] -= 1
    return counts
