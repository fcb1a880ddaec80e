"""What every Top-K returns: which windows are in reach, and how much of each a slot looks at.

    candidates Int (B, M)     weights Float (B, K, M)

Row j of the weights says where slot j looks. A hard selection has M = K and one-hot rows, so
nothing that takes a selection needs to know whether the model trains or predicts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Selection:
    """K slots over the M candidates in reach, for each of B images.

    Attributes:
        candidates: window numbers, 0 <= number < N. Where images have different numbers of
            candidates in reach, the shorter rows are filled up with repeated numbers of weight 0.
        weights: differentiable in the scores. Every row is nonnegative and sums to one.
    """

    candidates: Int[Tensor, "B M"]
    weights: Float[Tensor, "B K M"]

    @property
    def slots(self) -> int:
        """The number K of slots."""
        return self.weights.shape[1]

    def dense(self, n: int) -> Float[Tensor, "B K n"]:
        """The weights over all n candidates, zero out of reach; differentiable in the scores.

        Memory is that of the result: meant for small n, tests and pictures.
        """
        batch, slots, _ = self.weights.shape
        index = self.candidates[:, None, :].expand_as(self.weights)  # (B, K, M)
        zeros = torch.zeros(batch, slots, n, dtype=self.weights.dtype, device=self.weights.device)
        return zeros.scatter_add(2, index, self.weights)

    def expected(self, values: Float[Tensor, "*B N D"]) -> Float[Tensor, "B K D"]:
        """The weighted mean of a value per candidate, for every slot.

        Args:
            values: (N, D), or (B, N, D) where they differ by image: window centres, for instance.
        """
        if values.ndim == 2:
            near = values[self.candidates]  # (B, M, D)
        else:
            index = self.candidates[..., None].expand(-1, -1, values.shape[-1])
            near = values.gather(1, index)  # (B, M, D)
        return self.weights @ near.to(self.weights.dtype)

    def __repr__(self) -> str:
        """The shapes, which is what one wants to know first."""
        b, k, m = self.weights.shape
        return f"Selection(B={b} images, K={k} slots, M={m} candidates in reach)"
