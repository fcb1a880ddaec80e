"""Slow independent oracles: what the fast operators have to agree with.

The smoothed Top-K by enumeration of all K-subsets, its inclusion probabilities by a recurrence for
each candidate, its mean by simulation; and patch extraction as loops over crops. Nothing here is
shared with the package.
"""

import math
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

# The integrands are products of Gaussian densities and tails: on this grid, in units of sigma, the
# trapezoid rule is exact to rounding (its error falls like exp(-2 pi^2 / step^2)).
_STEP = 1 / 8
_NODES = torch.arange(-9, 9 + _STEP, _STEP, dtype=torch.float64)  # (P,)
_DENSITY = torch.exp(-_NODES.square() / 2) * (_STEP / math.sqrt(2 * math.pi))  # (P,) times dt


def subset_probabilities(
    scores: Float[Tensor, " N"], k: int, sigma: float | Tensor
) -> tuple[Int[Tensor, "T K"], Float[Tensor, " T"]]:
    """All T = N choose K sets, ascending, and the probability that each is the Top-K.

    P(S) = sum_{m in S} ∫ f_m(t) prod_{i in S, i != m} P(u_i > t) prod_{i not in S} P(u_i < t) dt:
    m is the smallest of S. Substituting t = s_m + sigma x puts the grid where f_m lives.
    Differentiable in the scores and in sigma.
    """
    n = scores.shape[0]
    sets = torch.tensor(list(combinations(range(n), k)))  # (T, K)
    member = torch.zeros(len(sets), n, dtype=torch.bool).scatter_(1, sets, True)  # (T, N)
    total = torch.zeros(len(sets), dtype=torch.float64)
    for m in range(n):
        above = (scores - scores[m])[:, None] / sigma - _NODES  # (N, P) of (u_i > t)
        others = [i for i in range(n) if i != m]
        factors = torch.where(
            member[:, others, None],
            torch.special.ndtr(above[others]),
            torch.special.ndtr(-above[others]),
        )  # (T, N-1, P)
        total = total + member[:, m] * (factors.prod(dim=1) @ _DENSITY)
    return sets, total


def expected(
    scores: Float[Tensor, " N"], k: int, sigma: float | Float[Tensor, ""]
) -> Float[Tensor, "K N"]:
    """E[Y]: the smoothed Top-K, slots in index order, by enumeration; differentiable."""
    sets, probabilities = subset_probabilities(scores.double(), k, sigma)
    one_hot = torch.nn.functional.one_hot(sets, scores.shape[0]).double()  # (T, K, N)
    return torch.einsum("t,tkn->kn", probabilities, one_hot)


def gradient(
    scores: Float[Tensor, " N"], k: int, sigma: float, incoming: Float[Tensor, "K N"]
) -> Float[Tensor, " N"]:
    """The gradient of <G, E[Y]>, differentiated under the integral."""
    leaf = scores.detach().double().requires_grad_()
    (slope,) = torch.autograd.grad((expected(leaf, k, sigma) * incoming).sum(), leaf)
    return slope


def diagonal(
    scores: Float[Tensor, " N"], k: int, sigma: float, incoming: Float[Tensor, "K N"]
) -> Float[Tensor, " N"]:
    """What the paper's released code estimates: sum_k G[k, i] dE[Y[k, i]] / ds_i."""
    jacobian = torch.autograd.functional.jacobian(
        lambda s: expected(s, k, sigma), scores.detach().double()
    )  # (K, N, N)
    return torch.einsum("kn,knn->n", incoming, jacobian)


def inclusion(scores: Float[Tensor, " N"], k: int, sigma: float) -> Float[Tensor, " N"]:
    """P(i is chosen) = ∫ f_i(t) P(fewer than K others stand above t) dt, i by i."""
    scores = scores.double()
    chosen = torch.zeros_like(scores)
    for i in range(scores.shape[0]):
        above = torch.special.ndtr((scores - scores[i])[:, None] / sigma - _NODES)  # (N, P)
        count = torch.zeros(k, len(_NODES), dtype=torch.float64)  # P(c others above), c < K
        count[0] = 1
        for j in range(scores.shape[0]):
            if j != i:
                moved = torch.cat([torch.zeros_like(count[:1]), count[:-1]])
                count = count * (1 - above[j]) + moved * above[j]
        chosen[i] = count.sum(dim=0) @ _DENSITY
    return chosen


def monte_carlo(
    scores: Float[Tensor, " N"], k: int, sigma: float, samples: int, seed: int = 0
) -> Float[Tensor, "K N"]:
    """E[Y] as the mean of one-hots over simulated noise."""
    random = np.random.default_rng(seed)
    values = scores.double().numpy()
    counts = np.zeros((k, len(values)))
    chunk = max(1, 4_000_000 // len(values))
    for start in range(0, samples, chunk):
        noise = random.standard_normal((min(chunk, samples - start), len(values)))
        chosen = np.argpartition(-(values + sigma * noise), k - 1, axis=1)[:, :k]
        chosen.sort(axis=1)
        for slot in range(k):
            counts[slot] += np.bincount(chosen[:, slot], minlength=len(values))
    return torch.from_numpy(counts / samples)


def crop(
    image: Float[Tensor, "C H W"], window: tuple[int, int, int, int], size: tuple[int, int]
) -> Float[Tensor, "C h w"]:
    """One window of an image, pixel by pixel where they exist and zero elsewhere.

    A window of another size than asked for is resampled with antialiasing.
    """
    top, left, bottom, right = window
    rows = [
        torch.stack(
            [
                image[:, y, x]
                if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
                else image.new_zeros(image.shape[0])
                for x in range(left, right)
            ],
            dim=1,
        )
        for y in range(top, bottom)
    ]
    found = torch.stack(rows, dim=1)  # (C, bottom - top, right - left)
    if found.shape[1:] == size:
        return found
    return interpolate(found[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def extract(
    images: list[Float[Tensor, "C H W"]],
    windows: Int[Tensor, "B N 4"],
    weights: Float[Tensor, "B K N"],
    size: tuple[int, int],
) -> Float[Tensor, "B K C h w"]:
    """patches[b, k] = sum_i w[b, k, i] crop_i: every patch unfolded, then one dense sum."""
    looks = []
    for image, places, weight in zip(images, windows.tolist(), weights, strict=True):
        unfolded = torch.stack([crop(image, tuple(place), size) for place in places])
        looks.append(torch.einsum("kn,nchw->kchw", weight, unfolded))
    return torch.stack(looks)  # (B, K, C, h, w)
