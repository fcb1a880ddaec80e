"""`foveal.topk.quadrature` on the CPU in compiled loops, with the same arguments and results.

`AVAILABLE` is false where foveal was installed without a compiler. The loops are C (src/native)
that uses neither torch's nor numpy's ABI, so one wheel serves every version of both.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal._pointers import address
from foveal._threads import split
from foveal.topk.active_candidates import improbable_means
from foveal.topk.quadrature import BUNDLES, ROW_SUM_TOLERANCE

try:
    from foveal import _native
except ImportError:  # installed without a compiler
    AVAILABLE = False
else:
    AVAILABLE = True


def weights(
    scores: Float[Tensor, "B N"], k: int, sigma: float
) -> tuple[Int[Tensor, "B M"], Float[Tensor, "B K M"], Float[Tensor, "B 4"], Int[Tensor, "B 2"]]:
    """The active candidates, their weights, and what the gradient needs."""
    scores = scores.contiguous()
    b, n = scores.shape
    is_double = scores.dtype == torch.float64
    plan = torch.empty(b, 4, dtype=torch.float64)
    active, bundles = torch.empty(2, b, dtype=torch.int64).unbind()
    few, many = improbable_means(k)

    def find_active(first: int, last: int) -> None:
        _native.reach(
            first, last, address(scores), is_double, n, k, sigma, few, many,
            address(plan), address(active),
        )  # fmt: skip

    def compute_weights(first: int, last: int) -> None:
        _native.weights(
            first, last, address(scores), is_double, n, k, width, sigma, ROW_SUM_TOLERANCE, BUNDLES,
            address(plan), address(active), address(candidates), address(into),
            address(bundles),
        )  # fmt: skip

    split(find_active, b)
    width = int(active.max())
    candidates = torch.zeros(b, width, dtype=torch.int64)
    into = torch.zeros(b, k, width, dtype=scores.dtype)
    split(compute_weights, b)
    return candidates, into, plan, torch.stack((active, bundles), dim=1)


def gradients(
    incoming: Float[Tensor, "B K M"],
    scores: Float[Tensor, "B N"],
    sigma: float,
    candidates: Int[Tensor, "B M"],
    weights: Float[Tensor, "B K M"],
    plan: Float[Tensor, "B 4"],
    counts: Int[Tensor, "B 2"],
) -> tuple[Float[Tensor, "B N"], Float[Tensor, " B"]]:
    """The gradients with respect to the scores, and per image with respect to sigma."""
    scores, incoming = scores.contiguous(), incoming.contiguous()
    b, k, width = weights.shape
    n, is_double = scores.shape[1], scores.dtype == torch.float64
    active, bundles = counts.T.contiguous().unbind()
    into = torch.zeros_like(scores)
    to_sigma = torch.empty(b, dtype=torch.float64)

    def compute_gradients(first: int, last: int) -> None:
        _native.slopes(
            first, last, address(scores), is_double, n, k, width, sigma, address(plan),
            address(active), address(candidates), address(bundles), address(weights),
            address(incoming), address(into), address(to_sigma),
        )  # fmt: skip

    split(compute_gradients, b)
    return into, to_sigma
