"""Stratified random splits: every part gets its share of every class."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Generator, Tensor


def stratified(
    labels: Int[Tensor, " n"], shares: Sequence[float], generator: Generator
) -> list[list[int]]:
    """Split the indices 0..n-1 into one part per share and a rest, class by class.

    Of a class of m images a part takes round(share x m), at least one if its share is not zero. At
    least one image stays in the rest, so a class of three images is in the rest and in two parts.

    Args:
        labels: class numbers.
        shares: shares of the parts, each in [0, 1), with a sum below 1.
        generator: random numbers, on the CPU.

    Returns:
        The rest, then the parts; indices in ascending order.
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
    """Split the indices 0..n-1 into folds whose sizes differ by at most one, stratified.

    Args:
        labels: class numbers.
        count: number of folds, 1 or more.
        generator: random numbers, on the CPU.

    Returns:
        The folds; indices in ascending order.
    """
    order = torch.randperm(len(labels), generator=generator)
    dealt = order[labels[order].argsort(stable=True)]  # class after class, each in random order
    return [sorted(dealt[fold::count].tolist()) for fold in range(count)]


def _counts(members: int, shares: Sequence[float]) -> list[int]:
    counts = [max(1, round(share * members)) if share > 0 else 0 for share in shares]
    while sum(counts) > members - 1:
        # take from the last of the largest parts
        largest = max(range(len(counts)), key=lambda part: (counts[part], part))
        counts[largest] -= 1
    return counts
