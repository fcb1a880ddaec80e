"""The selection as a part of a model: soft while it trains, hard when it predicts if not told
otherwise.

Chance while training comes from torch's default generator, like that of dropout: a training loop
that seeds it at every step, as `foveal.training` does, repeats itself to the bit. Prediction never
draws from it.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveal.nn.protocols import Selector
from foveal.topk import Selection, hard, perturbed, sample, sinkhorn
from foveal.topk.perturbed import Estimator
from foveal.topk.transport import Solver


class TopK(nn.Module):
    """`foveal.topk.perturbed` in training, `foveal.topk.hard` in evaluation by default.

    Args:
        k: number of slots.
        sigma: standard deviation of the noise on scores in [0, 1]; in training it is multiplied
            by `noise_scale`, which a training loop lowers.
        estimator: of the gradient, see `foveal.topk.perturbed`.
        samples: noise draws for the sampling estimators.
        soft_evaluation: predict with the mixed patches of training instead of plain cuts, at the
            noise of the last step of training, which is kept with the weights. Whatever the
            estimator, the mean over all noise is taken then, so that an answer repeats itself.
            The paper's code does so for birds, with draws.
    """

    last: Tensor | None

    def __init__(
        self,
        k: int,
        *,
        sigma: float = 0.05,
        estimator: Estimator = "exact",
        samples: int = 500,
        soft_evaluation: bool = False,
    ) -> None:
        super().__init__()
        self.k, self.sigma, self.estimator, self.samples = k, sigma, estimator, samples
        self.noise_scale = 1.0
        self.register_buffer("last", torch.tensor(sigma) if soft_evaluation else None)

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        if not self.training:
            if self.last is None:
                return hard(scores, self.k)
            return perturbed(scores, self.k, float(self.last))
        sigma = self.sigma * self.noise_scale
        if self.last is not None:
            self.last.fill_(sigma)
        return perturbed(scores, self.k, sigma, estimator=self.estimator, samples=self.samples)

    def extra_repr(self) -> str:
        """The settings."""
        soft = self.last is not None
        return (
            f"k={self.k}, sigma={self.sigma}, estimator={self.estimator!r}, soft_evaluation={soft}"
        )


class Sinkhorn(nn.Module):
    """`foveal.topk.sinkhorn` in training; in evaluation the same or its limit without entropy.

    The slots are in order of score in both.

    Args:
        k: number of slots.
        epsilon: weight of the entropy on scores in [0, 1].
        iterations: see `foveal.topk.sinkhorn`.
        solver: see `foveal.topk.sinkhorn`.
        soft_evaluation: predict with the mixed patches of training instead of plain cuts. The
            paper reports that accuracy suffers without.

    References:
        Cordonnier et al., CVPR 2021, appendix E.
    """

    def __init__(
        self,
        k: int,
        *,
        epsilon: float = 1e-4,
        iterations: int = 2000,
        solver: Solver = "newton",
        soft_evaluation: bool = False,
    ) -> None:
        super().__init__()
        self.k, self.epsilon, self.iterations, self.solver = k, epsilon, iterations, solver
        self.soft_evaluation = soft_evaluation

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        soft = self.soft_evaluation or self.training
        epsilon = self.epsilon if soft else 0.0
        return sinkhorn(
            scores, self.k, epsilon=epsilon, iterations=self.iterations, solver=self.solver
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}, epsilon={self.epsilon}, soft_evaluation={self.soft_evaluation}"


class Hard(nn.Module):
    """`foveal.topk.hard`, in training, too: no gradient reaches the scorer through it.

    Args:
        k: number of slots.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        return hard(scores, self.k)

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}"


class Random(nn.Module):
    """K different windows, each set equally likely, whatever the scores: what choosing is worth.

    In evaluation the same windows are taken for every image, each time. Where an image does not
    fill the view, the windows outside it share the lowest score with the lowest one inside; such
    shared lowest scores are drawn last.

    Args:
        k: number of slots.
        seed: of the windows in evaluation.
    """

    def __init__(self, k: int, *, seed: int = 0) -> None:
        super().__init__()
        self.k, self.seed = k, seed

    def forward(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        if self.training:
            order = torch.rand(scores.shape)
        else:
            order = torch.rand(scores.shape[1:], generator=torch.Generator().manual_seed(self.seed))
        selection = hard(_drawn(scores, order.to(scores.device)), self.k)
        return Selection(selection.candidates, selection.weights.to(scores.dtype))

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}, seed={self.seed}"


class Mixed(nn.Module):
    """Another selector, disturbed by chance in training; in evaluation, that selector itself.

    What the released code offers against a scorer that is sure too early: first whole images, then
    single slots are replaced, then candidates are dropped. What is replaced or dropped has no
    gradient. A dropped candidate lacks in the patches of all slots, and in what the aggregator is
    told of their places; the others' weights grow by 1 / (1 - dropped), as in dropout, so that the
    rows of the weights sum to one on average only.

    Args:
        select: the selector.
        hard: chance that an image's slots all look at what `foveal.topk.hard` selects.
        random: chance that a slot looks at a random window instead; an image's are all different.
        dropped: chance that an image's candidate is dropped, below 1.

    Raises:
        ValueError: a chance lies outside its range.

    References:
        Cordonnier et al., CVPR 2021, released code: hard_topk_probability,
        random_patch_probability and patch_dropout.
    """

    def __init__(
        self, select: Selector, *, hard: float = 0.0, random: float = 0.0, dropped: float = 0.0
    ) -> None:
        super().__init__()
        for name, chance in (("hard", hard), ("random", random), ("dropped", dropped)):
            if not 0 <= chance <= 1 or (name == "dropped" and chance == 1):
                raise ValueError(f"{name} must be a chance, and dropped below 1: got {chance}")
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
            drawn = _drawn(scores, torch.rand(scores.shape).to(device))
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


def _drawn(scores: Float[Tensor, "B N"], order: Float[Tensor, "*B N"]) -> Float[Tensor, "B N"]:
    """The order in [0, 1) that windows are drawn in, the highest first; see `Random`."""
    lowest = scores == scores.amin(dim=1, keepdim=True)
    last = lowest & (lowest.sum(dim=1, keepdim=True) > 1)
    return torch.where(last, order - 1, order)


def _replaced(
    selection: Selection, others: Int[Tensor, "B K"], chosen: Bool[Tensor, "B K"]
) -> Selection:
    """The selection with the chosen slots looking at others, at one each."""
    here = torch.where(chosen[..., None], 0, selection.weights)
    there = torch.diag_embed(chosen.to(here.dtype))  # (B, K, K)
    candidates = torch.cat((selection.candidates, others), dim=1)
    return Selection(candidates, torch.cat((here, there), dim=2))


class Sampling(nn.Module):
    """`foveal.topk.sample`: new draws in training, the same ones again in evaluation.

    The published code draws anew in evaluation, too. Here every image is met with the same noise
    from a seed, so that an answer repeats itself and depends on nothing but the image; with a seed
    of None there is no noise, and the K likeliest are taken in the order of their attention.

    Args:
        k: number of draws.
        replacement: whether a candidate can be drawn again.
        seed: of the draws in evaluation, or None.

    Raises:
        ValueError: draws with replacement have no likeliest outcome but K times the same.

    References:
        Katharopoulos & Fleuret, ICML 2019.
    """

    def __init__(self, k: int, *, replacement: bool = False, seed: int | None = 0) -> None:
        super().__init__()
        if replacement and seed is None:
            raise ValueError("draws with replacement need a seed in evaluation: got seed=None")
        self.k, self.replacement, self.seed = k, replacement, seed

    def forward(self, attention: Float[Tensor, "B N"]) -> Selection:
        """Draw K of the N candidates."""
        if self.training:
            return sample(attention, self.k, replacement=self.replacement)
        if self.seed is None:
            order = attention.detach().sort(dim=1, descending=True, stable=True).indices
            one_hot = torch.eye(self.k, dtype=attention.dtype, device=attention.device)
            return Selection(order[:, : self.k], one_hot.repeat(len(attention), 1, 1))
        each = []
        for row in attention:
            source = torch.Generator().manual_seed(self.seed)
            each.append(sample(row[None], self.k, replacement=self.replacement, generator=source))
        return Selection(
            torch.cat([one.candidates for one in each]), torch.cat([one.weights for one in each])
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}, replacement={self.replacement}, seed={self.seed}"
