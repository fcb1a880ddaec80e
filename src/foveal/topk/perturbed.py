"""The perturbed Top-K: the expected selection when every score carries Gaussian noise.

    W(s) = E_z[ Y(s + sigma z) ]      z ~ N(0, I_N)

Y(u), of shape (K, N), holds the one-hot rows of the k largest entries of u *in index order*. W is
smooth in s, equals the hard selection where the scores are far apart in units of sigma, and has a
useful gradient near the k-th score. The estimators differ in how they reach W and its gradient.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from foveal._float64 import has_float64
from foveal.topk.exact import exact
from foveal.topk.hard import check_finite, check_shape, hard
from foveal.topk.sampled import sampled
from foveal.topk.selection import Selection

Estimator = Literal["exact", "conditional", "score_function", "diagonal", "diagonal_centred"]


def perturbed(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float | Float[Tensor, ""],
    *,
    estimator: Estimator = "exact",
    samples: int = 500,
    generator: torch.Generator | None = None,
) -> Selection:
    """Select k candidates softly, differentiable in the scores.

    Estimators: ``exact``, the default, has neither noise nor bias. ``conditional`` samples, is
    unbiased and has low variance. ``score_function`` (with a leave-one-out baseline) is unbiased
    and very noisy. ``diagonal`` is the gradient the paper was trained with: it keeps dW[k,i]/ds_i
    and drops every other dW[k,j]/ds_i, so that a constant added to the value of every patch (the
    brightness of the image) drowns the signal. ``diagonal_centred`` subtracts that constant first.

    On a device without float64 the work is done on the CPU, with the same result in the type of the
    scores.

    Args:
        scores: relevance of the N candidates, normalised per image so that sigma has a meaning.
        k: number of slots, 1..N.
        sigma: standard deviation of the noise in units of the scores; 0 is `hard`, to the bit.
            With ``exact`` it may be a tensor and receives a gradient.
        estimator: of the gradient, see above.
        samples: noise draws per image, >= 1; ``exact`` ignores it.
        generator: source of the noise; ``exact`` ignores it.

    Returns:
        A selection whose rows are nonnegative and sum to one; expected indices rise with the slot.

    Raises:
        ValueError: k outside 1..N, sigma < 0, samples < 1, an unknown estimator, or scores that are
            NaN or infinite.

    References:
        Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021, eq. 2-5;
        Berthet et al., Learning with Differentiable Perturbed Optimizers, NeurIPS 2020.
    """
    check_shape(scores, k)
    if estimator not in get_args(Estimator):
        names = ", ".join(get_args(Estimator))
        raise ValueError(f"estimator must be one of {names}: got {estimator!r}")
    width = float(sigma.detach()) if isinstance(sigma, Tensor) else float(sigma)
    if not 0 <= width < math.inf:
        raise ValueError(f"sigma must be finite and >= 0: got {width}")
    if samples < 1:
        raise ValueError(f"samples must be >= 1: got {samples}")
    if width == 0:
        return hard(scores, k)
    if not has_float64(scores.device):
        return perturbed(
            scores.cpu(),
            k,
            sigma.cpu() if isinstance(sigma, Tensor) else sigma,
            estimator=estimator,
            samples=samples,
            generator=generator,
        ).to(scores.device)
    if estimator == "exact":
        return exact(scores, k, sigma)
    check_finite(scores)
    return sampled(scores, k, width, estimator, samples, generator)
