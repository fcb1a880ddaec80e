"""Reductions that several parts of models use."""

from typing import Literal, get_args

from torch import Tensor

Pool = Literal["amax", "avgmax", "mean", "sum"]


def pool_over(x: Tensor, pool: Pool, dim: int | tuple[int, ...]) -> Tensor:
    """Reduce axes to their largest value, their mean, the mean of these two, or their sum.

    >>> import torch
    >>> pool_over(torch.tensor([[1.0, 3.0]]), "mean", 1)
    tensor([2.])

    Raises:
        ValueError: the name of the reduction is unknown.
    """
    if pool == "amax":
        return x.amax(dim)
    if pool == "avgmax":
        return (x.mean(dim) + x.amax(dim)) / 2
    if pool == "mean":
        return x.mean(dim)
    if pool == "sum":
        return x.sum(dim)
    raise ValueError(f"unknown pool {pool!r}: choose {', '.join(get_args(Pool))}")
