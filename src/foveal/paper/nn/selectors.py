"""Selectors that only the paper and its comparisons need; see `foveal.nn.selectors`."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveal.nn.protocols import Selector
from foveal.nn.selectors import random_order
from foveal.paper.operators import RelaxationName, check_present, select
from foveal.topk import Selection, hard


class Mixed(nn.Module):
    """Another selector with random changes in training; in evaluation, that selector itself.

    The released code's remedies against a scorer that settles too early: first the slots of whole
    images, then single slots are replaced, then candidates are dropped. What is replaced or dropped
    has no gradient. A dropped candidate is missing from the patches of all slots and from their
    positions; the other weights grow by 1 / (1 - dropped), as in dropout, so that the rows of the
    weights sum to one on average only.

    Args:
        select: the selector.
        hard: probability that all slots of an image take what `foveal.topk.hard` selects.
        random: probability that a slot takes a random window; those of an image are all different.
        dropped: probability that a candidate of an image is dropped, below 1.

    Raises:
        ValueError: a probability lies outside its range.

    References:
        Cordonnier et al., CVPR 2021, released code: hard_topk_probability,
        random_patch_probability and patch_dropout.
    """

    def __init__(
        self, select: Selector, *, hard: float = 0.0, random: float = 0.0, dropped: float = 0.0
    ) -> None:
        super().__init__()
        for name, p in (("hard", hard), ("random", random), ("dropped", dropped)):
            if not 0 <= p <= 1 or (name == "dropped" and p == 1):
                raise ValueError(f"{name} must lie in [0, 1], and dropped below 1: got {p}")
        self.select, self.k = select, select.k
        self.hard, self.random, self.dropped = hard, random, dropped

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        selection = self.select(scores)
        if not self.training:
            return selection
        batch, device = scores.shape[0], scores.device
        if self.hard > 0:
            chosen = (torch.rand(batch, 1) < self.hard).expand(-1, self.k).to(device)
            selection = _replaced(selection, hard(scores, self.k).candidates, chosen)
        if self.random > 0:
            drawn = random_order(scores, torch.rand(scores.shape).to(device))
            chosen = (torch.rand(batch, self.k) < self.random).to(device)
            selection = _replaced(selection, drawn.topk(self.k).indices, chosen)
        if self.dropped > 0:
            kept = (torch.rand(scores.shape) >= self.dropped).to(device)  # (B, N)
            near = kept.gather(1, selection.candidates)[:, None]  # (B, 1, M)
            weights = torch.where(near, selection.weights / (1 - self.dropped), 0)
            selection = Selection(selection.candidates, weights)
        return selection

    def extra_repr(self) -> str:
        """The settings."""
        return f"hard={self.hard}, random={self.random}, dropped={self.dropped}"


class Relaxed(nn.Module):
    """A differentiable Top-K of the literature in training, its hard limit in evaluation.

    Args:
        name: see `foveal.paper.operators`.
        k: number of slots.
        sigma: its softness on scores in [0, 1]; in training it is multiplied by `noise_scale`,
            which a training loop lowers.

    Raises:
        UserError: a package is missing.
    """

    def __init__(self, name: RelaxationName, k: int, *, sigma: float) -> None:
        super().__init__()
        check_present(name)
        self.name, self.k, self.sigma, self.noise_scale = name, k, sigma, 1.0

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        softness = self.sigma * self.noise_scale if self.training else 0.0
        return select(self.name, scores, self.k, softness)

    def extra_repr(self) -> str:
        """The settings."""
        return f"name={self.name!r}, k={self.k}, sigma={self.sigma}"


def _replaced(
    selection: Selection, others: Int[Tensor, "B K"], chosen: Bool[Tensor, "B K"]
) -> Selection:
    """The selection with the chosen slots looking at one other window each."""
    here = torch.where(chosen[..., None], 0, selection.weights)
    there = torch.diag_embed(chosen.to(here.dtype))  # (B, K, K)
    candidates = torch.cat((selection.candidates, others), dim=1)
    return Selection(candidates, torch.cat((here, there), dim=2))
