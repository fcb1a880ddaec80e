"""Attention sampling: K candidates drawn from a distribution, and the mean they estimate.

    F = sum_i a_i f_i  ~  sum_p w_p f_p        over the K drawn candidates, p = 0 .. K-1

A slot looks at one candidate, so its patch is a plain crop, not a blend. The attention a learns
through an estimate of F that is unbiased, in value and in gradient.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foveal._float64 import where_float64
from foveal.topk.hard import check
from foveal.topk.selection import Selection


def attention(
    scores: Float[Tensor, "B N"],
    smoothing: float = 0.0,
    among: Bool[Tensor, "*B N"] | None = None,
) -> Float[Tensor, "B N"]:
    """The distribution that candidates are drawn from.

        a_i = (1 - smoothing) softmax(scores)_i + smoothing / N

    Args:
        scores: raw relevance of the N candidates.
        smoothing: fraction spread evenly over all candidates, in [0, 1]. Without it a candidate may
            become so rare that its gradient, proportional to 1 / a_i, explodes.
        among: the candidates that may be drawn, all by default; the others have attention 0.

    Returns:
        Nonnegative rows that sum to one.

    Raises:
        ValueError: smoothing outside [0, 1], or a score is NaN or infinite.

    References:
        Katharopoulos & Fleuret, Processing Megapixel Images with Deep Attention-Sampling Models,
        ICML 2019 (its released code, `SampleSoftmax`).
    """
    check(scores, 1)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in [0, 1]: got {smoothing}")
    if among is None:
        return (1 - smoothing) * scores.softmax(dim=1) + smoothing / scores.shape[1]
    shares = scores.masked_fill(~among, -torch.inf).softmax(dim=1)
    even = among.to(shares.dtype)
    return (1 - smoothing) * shares + smoothing * even / even.sum(dim=-1, keepdim=True)


def sample(
    attention: Float[Tensor, "B N"],
    k: int,
    *,
    replacement: bool = False,
    generator: torch.Generator | None = None,
) -> Selection:
    """Draw k candidates; slot j looks at the j-th drawn.

    Without replacement as the k largest of log a_i + Gumbel noise, which equals drawing one after
    the other in proportion to the attention of those left.

    Args:
        attention: nonnegative; rows need not sum to one.
        k: number of draws, 1..N.
        replacement: whether a candidate can be drawn more than once.
        generator: source of the draws; one on the CPU gives the same draws on every device.

    Returns:
        A selection with M = K and one-hot rows in the order of drawing, without gradient.

    Raises:
        ValueError: k outside 1..N, attention that is negative, NaN or infinite, or fewer than k
            candidates of positive attention without replacement.

    References:
        Katharopoulos & Fleuret, ICML 2019; Vieira, Gumbel-max trick and weighted reservoir
        sampling, 2014.
    """
    check(attention, k)
    shares = attention.detach()
    enough = (shares > 0).sum(dim=1).min()
    if (shares < 0).any() or enough < (1 if replacement else k):
        raise ValueError(
            f"attention must be nonnegative, and positive for k={k} candidates: got a smallest of "
            f"{float(shares.min())} and an image with {int(enough)} positive ones; use smoothing"
        )
    device = attention.device if generator is None else generator.device
    if replacement:
        below = where_float64(shares).double().cumsum(dim=1)  # (B, N)
        height = torch.rand(len(shares), k, generator=generator, device=device, dtype=below.dtype)
        height = height.to(below.device) * below[:, -1:]
        drawn = torch.searchsorted(below, height, right=True).clamp(max=below.shape[1] - 1)
        drawn = drawn.to(shares.device)
    else:
        noise = torch.empty(shares.shape, device=device).exponential_(generator=generator)
        keys = shares.float().log() - noise.to(shares.device).log()  # -log of it is Gumbel's
        drawn = keys.topk(k, dim=1).indices
    return Selection.one_hot(drawn, attention.dtype)


def expectation(
    features: Float[Tensor, "B K D"],
    attention: Float[Tensor, "B N"],
    selection: Selection,
    *,
    replacement: bool = False,
) -> Float[Tensor, "B D"]:
    """Estimate sum_i a_i f_i from the drawn candidates, unbiased in value and in all gradients.

    Before draw p, with the candidates Q drawn so far, the mass m_p = 1 - sum_Q a is left. Given Q,
    sum_Q a f + m_p f_p has the exact mean; averaged over the K draws,

        w_p = ((K - 1 - p) a_p + m_p) / K         and with replacement w_p = 1 / K

    The gradient of a_p is w_p / a_p <G, f_p> for an incoming gradient G: by the same argument its
    mean, with 0 for candidates not drawn, is <G, f_i> for every candidate i. Its variance is that
    of an importance weight and needs no baseline.

    The value without replacement is the published one; the gradient is not. The published gradient
    of the attention is biased for K > 1, in the released code and in its PyTorch port, as
    enumerating all draws shows: it credits f_j - f_p to the later of two draws and scales the score
    of a draw by the mass left. It is not offered here.

    Args:
        features: f_p of the drawn candidates.
        attention: a, rows that sum to one; differentiable.
        selection: one-hot rows in the order of drawing, see `sample`.
        replacement: as in `sample`.

    References:
        Katharopoulos & Fleuret, ICML 2019, section 3.2 and its released code, `expectation.py`.
    """
    drawn = selection.candidates
    share = attention.gather(1, drawn)  # (B, K): a_p
    k = drawn.shape[1]
    with torch.no_grad():
        weight = torch.full_like(share, 1 / k)
        if not replacement:
            # Sums of what is left, rather than 1 minus what is drawn, avoid cancellation.
            unseen = attention.scatter(1, drawn, 0.0).sum(dim=1, keepdim=True)
            left = unseen + share.flip(1).cumsum(dim=1).flip(1)  # (B, K): m_p
            later = torch.arange(k - 1, -1, -1, device=share.device)
            weight = (later * share + left) / k
        ratio = weight / share.clamp(min=torch.finfo(share.dtype).tiny)
    weights = ratio * share  # w, and d w_p / d a_p is the ratio
    return (weights[:, :, None] * features).sum(dim=1).to(features.dtype)
