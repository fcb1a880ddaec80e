"""The perturbed Top-K of the package optax, which JAX computes and differentiates."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from foveal.paper.operators.dense import dense
from foveal.paper.operators.foveal_own import SAMPLES
from foveal.topk import Selection


def optax(
    scores: Float[Tensor, "B N"], k: int, softness: float, generator: torch.Generator | None
) -> Selection:
    """Means of one-hots over 500 samples, with the score-function gradient and a baseline.

    References:
        Berthet et al., Learning with Differentiable Perturbed Optimizers, NeurIPS 2020.
    """
    return dense(perturbed(scores, k, softness, SAMPLES, generator))


def perturbed(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float,
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B K N"]:
    """The weights; computed on the CPU, compiled once per shape."""
    seed = int(torch.randint(2**31, (), generator=generator))
    value: Tensor = _Perturbed.apply(scores, k, sigma, samples, seed)  # type: ignore[no-untyped-call]
    return value


class _Perturbed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Float[Tensor, "B N"], k: int, sigma: float, samples: int, seed: int
    ) -> Float[Tensor, "B K N"]:
        forwards, ctx.backwards = _compiled(k, samples)
        ctx.inputs = (seed, sigma, scores.detach().cpu().numpy())
        return torch.from_numpy(np.array(forwards(*ctx.inputs))).to(scores)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, incoming: Float[Tensor, "B K N"]
    ) -> tuple[Float[Tensor, "B N"], None, None, None, None]:
        slope = ctx.backwards(*ctx.inputs, incoming.cpu().numpy())
        return torch.from_numpy(np.array(slope)).to(incoming), None, None, None, None


@lru_cache(maxsize=8)
def _compiled(k: int, samples: int) -> tuple[Any, Any]:
    """The value, and its gradient, each of which draws the same noise from the seed."""
    import jax
    from jax import numpy as jnp
    from optax import perturbations

    def one_hots(values: Any) -> Any:
        best = jnp.sort(jax.lax.top_k(values, k)[1], axis=-1)
        return jax.nn.one_hot(best, values.shape[-1])

    def forwards(seed: Any, sigma: Any, values: Any) -> Any:
        smooth = perturbations.make_perturbed_fun(
            one_hots, samples, sigma, perturbations.Normal(), use_baseline=True
        )
        return smooth(jax.random.key(seed), values)

    def backwards(seed: Any, sigma: Any, values: Any, incoming: Any) -> Any:
        return jax.vjp(lambda leaf: forwards(seed, sigma, leaf), values)[1](incoming)[0]

    return jax.jit(forwards), jax.jit(backwards)
