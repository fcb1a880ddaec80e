"""What every Top-K operator returns: the active candidates, and the weight of each in each slot.

    candidates Int (B, M)     weights Float (B, K, M)

Row j of the weights says where slot j looks. A hard selection has M = K and one-hot rows, so
nothing that takes a selection needs to know whether the model trains or predicts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map


@dataclass(frozen=True)
class Selection:
    """K slots over the M active candidates of each of B images; a pytree of its two tensors.

    Attributes:
        candidates: window numbers, 0 <= number < N. Where images have different numbers of active
            candidates, shorter rows are padded with repeated numbers of weight 0.
        weights: differentiable in the scores. Every row is nonnegative and sums to one.
    """

    candidates: Int[Tensor, "B M"]
    weights: Float[Tensor, "B K M"]

    @classmethod
    def one_hot(
        cls, candidates: Int[Tensor, "B K"], dtype: torch.dtype = torch.float32
    ) -> "Selection":
        """The hard selection whose slot j looks at candidate j alone.

        Args:
            candidates: window numbers, one per slot.
            dtype: type of the weights, any float type.

        >>> Selection.one_hot(torch.tensor([[2, 0]])).dense(3)
        tensor([[[0., 0., 1.],
                 [1., 0., 0.]]])
        """
        batch, slots = candidates.shape
        identity = torch.eye(slots, dtype=dtype, device=candidates.device)
        return cls(candidates, identity.repeat(batch, 1, 1))

    @property
    def slots(self) -> int:
        """The number K of slots."""
        return self.weights.shape[1]

    @property
    def is_hard(self) -> bool:
        """Whether slot j looks at candidate j alone and no gradient is asked of the weights."""
        weights = self.weights
        if weights.requires_grad or weights.shape[1] != weights.shape[2]:
            return False
        identity = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
        return bool((weights == identity).all())

    def to(self, device: torch.device | str) -> "Selection":
        """The selection on another device."""
        moved: Selection = tree_map(lambda tensor: tensor.to(device), self)
        return moved

    def detach(self) -> "Selection":
        """The selection without its history of gradients."""
        detached: Selection = tree_map(Tensor.detach, self)
        return detached

    def dense(self, n: int) -> Float[Tensor, "B K n"]:
        """The weights over all n candidates; differentiable in the scores.

        Memory grows with B K n: meant for small n, tests and figures.
        """
        batch, slots, _ = self.weights.shape
        index = self.candidates[:, None, :].expand_as(self.weights)  # (B, K, M)
        zeros = torch.zeros(batch, slots, n, dtype=self.weights.dtype, device=self.weights.device)
        return zeros.scatter_add(2, index, self.weights)

    def expected(self, values: Float[Tensor, "*B N D"]) -> Float[Tensor, "B K D"]:
        """The weighted mean of the candidates' values, for every slot.

        Args:
            values: (N, D), or (B, N, D) where they differ by image; for instance window centres.
        """
        if values.ndim == 2:
            active = values[self.candidates]  # (B, M, D)
        else:
            index = self.candidates[..., None].expand(-1, -1, values.shape[-1])
            active = values.gather(1, index)  # (B, M, D)
        return self.weights @ active.to(self.weights.dtype)

    def __repr__(self) -> str:
        """The shapes."""
        b, k, m = self.weights.shape
        return f"Selection(B={b} images, K={k} slots, M={m} active candidates)"


torch.export.register_dataclass(Selection)
