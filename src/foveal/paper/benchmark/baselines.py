"""What foveal is compared with: the operators as one writes them first, and other packages.

References:
    Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021, appendix H.
"""

from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import one_hot, pad

OPTAX = "optax, perturbed"


def selection(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float,
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B K N"]:
    """The mean of one-hot Top-K over samples of the noise, with the paper's diagonal gradient.

    Memory O(B S K N), kept until the backward pass.
    """
    b, n = scores.shape
    noise = torch.randn(
        b, samples, n, generator=generator, dtype=scores.dtype, device=scores.device
    )
    value: Tensor = _MeanOfOneHots.apply(scores, noise, k, sigma)  # type: ignore[no-untyped-call]
    return value


class _MeanOfOneHots(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Float[Tensor, "B N"], noise: Float[Tensor, "B S N"], k: int, sigma: float
    ) -> Float[Tensor, "B K N"]:
        best = (scores[:, None] + sigma * noise).topk(k, dim=2, sorted=False).indices
        chosen = one_hot(best.sort(dim=2).values, scores.shape[1]).to(scores.dtype)  # (B, S, K, N)
        ctx.save_for_backward(chosen, noise)
        ctx.sigma = sigma
        return chosen.mean(dim=1)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K N"]
    ) -> tuple[Float[Tensor, "B N"], None, None, None]:
        chosen, noise = ctx.saved_tensors
        slope = torch.einsum("bskn,bsn->bkn", chosen, noise) / (noise.shape[1] * ctx.sigma)
        return (incoming * slope).sum(dim=1), None, None, None


def extraction(
    images: Float[Tensor, "B C H W"], windows: Int[Tensor, "N 4"], weights: Float[Tensor, "B K N"]
) -> Float[Tensor, "B K C h w"]:
    """All patches unfolded, (B, N, C, h, w), then their weighted sums; windows all of one size.

    Memory O(B N C h w), kept until the backward pass.
    """
    size = torch.tensor(images.shape[-2:])
    margin = max(0, -int(windows.min()), int((windows[:, 2:].cpu() - size).max()))
    padded = pad(images, (margin,) * 4)
    unfolded = torch.stack(
        [padded[:, :, t:b, left:r] for t, left, b, r in (windows + margin).tolist()], dim=1
    )
    return torch.einsum("bkn,bnchw->bkchw", weights, unfolded)


def present() -> tuple[str, ...]:
    """The names of those that can be run here."""
    return (OPTAX,) if find_spec("optax") and find_spec("jax") else ()
