"""Selectors: from normalised scores (B, N) to a selection, soft in training and hard in evaluation
by default.

In training, random numbers come from torch's default generator, like those of dropout: a training
loop that seeds it at every step, as `foveal.training` does, repeats itself to the bit. Evaluation
never draws from it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foveal.topk import Selection, hard, perturbed, sample, sinkhorn
from foveal.topk.perturbed import Estimator
from foveal.topk.transport import Solver


class TopK(nn.Module):
    """`foveal.topk.perturbed` in training, `foveal.topk.hard` in evaluation by default.

    Args:
        k: number of slots.
        sigma: standard deviation of the noise on scores in [0, 1]; in training it is multiplied
            by `noise_scale`, which a training loop lowers.
        estimator: estimator of the gradient, see `foveal.topk.perturbed`.
        samples: number of noise draws of the sampling estimators.
        soft_evaluation: predict with mixed patches as in training instead of plain crops, at the
            noise of the last step of training, which is stored with the weights. Whatever the
            estimator, the exact mean over the noise is used then, so that a prediction repeats
            itself. The paper's code does so for birds, with draws.
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
        self.soft_evaluation, self.noise_scale = soft_evaluation, 1.0
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
        return (
            f"k={self.k}, sigma={self.sigma}, estimator={self.estimator!r}, "
            f"soft_evaluation={self.soft_evaluation}"
        )


class Sinkhorn(nn.Module):
    """`foveal.topk.sinkhorn` in training; in evaluation the same or its limit without entropy.

    The slots are in order of score in both.

    Args:
        k: number of slots.
        epsilon: weight of the entropy on scores in [0, 1].
        iterations: see `foveal.topk.sinkhorn`.
        solver: see `foveal.topk.sinkhorn`.
        soft_evaluation: predict with mixed patches as in training instead of plain crops. The
            paper reports a lower accuracy without.

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
    """`foveal.topk.hard`, in training too: no gradient reaches the scorer through it.

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
    """K different windows, each set equally likely, whatever the scores: a baseline.

    In evaluation every image gets the same windows. If an image does not fill the view, the windows
    outside it share the lowest score with the lowest one inside; such shared lowest scores are
    drawn last.

    Args:
        k: number of slots.
        seed: seed of the windows in evaluation.
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
        selection = hard(random_order(scores, order.to(scores.device)), self.k)
        return Selection.one_hot(selection.candidates, scores.dtype)

    def extra_repr(self) -> str:
        """The settings."""
        return f"k={self.k}, seed={self.seed}"


class Sampling(nn.Module):
    """`foveal.topk.sample`: random draws in training, draws from a seed in evaluation.

    The published code draws at random in evaluation too. Here every image gets the same noise,
    made from a seed, so that a prediction repeats itself and depends on the image alone; with a
    seed of None there is no noise, and the K candidates of highest attention are taken in order.

    Args:
        k: number of draws.
        replacement: allow a candidate to be drawn several times.
        seed: seed of the draws in evaluation, or None.

    Raises:
        ValueError: with replacement and without a seed, all draws would be the same.

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
            return Selection.one_hot(order[:, : self.k], attention.dtype)
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


def random_order(
    scores: Float[Tensor, "B N"], order: Float[Tensor, "*B N"]
) -> Float[Tensor, "B N"]:
    """The order in [0, 1) that windows are drawn in, the highest first; see `Random`."""
    lowest = scores == scores.amin(dim=1, keepdim=True)
    last = lowest & (lowest.sum(dim=1, keepdim=True) > 1)
    return torch.where(last, order - 1, order)
