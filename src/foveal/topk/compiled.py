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
    """The candidates in reach, their weights, and what the gradient needs to know again."""
    scores = scores.contiguous()
    b, n = scores.shape
    wide = scores.dtype == torch.float64
    plan = torch.empty(b, 4, dtype=torch.float64)
    found, bundles = torch.empty(2, b, dtype=torch.int64).unbind()
    few, many = improbable_means(k)

    def reach(first: int, last: int) -> None:
        _native.reach(
            first, last, address(scores), wide, n, k, sigma, few, many,
            address(plan), address(found),
        )  # fmt: skip

    def weigh(first: int, last: int) -> None:
        _native.weights(
            first, last, address(scores), wide, n, k, row, sigma, ROW_SUM_TOLERANCE, BUNDLES,
            address(plan), address(found), address(candidates), address(into),
            address(bundles),
        )  # fmt: skip

    split(reach, b)
    row = int(found.max())
    candidates = torch.zeros(b, row, dtype=torch.int64)
    into = torch.zeros(b, k, row, dtype=scores.dtype)
    split(weigh, b)
    return candidates, into, plan, torch.stack((found, bundles), dim=1)


def slopes(
    incoming: Float[Tensor, "B K M"],
    scores: Float[Tensor, "B N"],
    sigma: float,
    candidates: Int[Tensor, "B M"],
    weights: Float[Tensor, "B K M"],
    plan: Float[Tensor, "B 4"],
    counts: Int[Tensor, "B 2"],
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B"]]:
    """The gradient to the scores, and each image's to sigma."""
    scores, incoming = scores.contiguous(), incoming.contiguous()
    b, k, row = weights.shape
    n, wide = scores.shape[1], scores.dtype == torch.float64
    found, bundles = counts.T.contiguous().unbind()
    into = torch.zeros_like(scores)
    to_sigma = torch.empty(b, dtype=torch.float64)

    def slope(first: int, last: int) -> None:
        _native.slopes(
            first, last, address(scores), wide, n, k, row, sigma, address(plan),
            address(found), address(candidates), address(bundles), address(weights),
            address(incoming), address(into), address(to_sigma),
        )  # fmt: skip

    split(slope, b)
    return into, to_sigma
