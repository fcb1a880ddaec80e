"""What others offer for the same work, where it is installed: one forward and one backward pass."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

OPTAX = "optax, perturbed"


def present() -> tuple[str, ...]:
    """The names of those that can be run here."""
    return (OPTAX,) if find_spec("optax") and find_spec("jax") else ()


def optax(
    scores: Float[Tensor, "B N"],
    k: int,
    sigma: float,
    samples: int,
    incoming: Float[Tensor, "B K N"],
) -> Callable[[], Tensor]:
    """The mean of one-hot Top-K over samples of the noise, with optax's score-function gradient.

    Compiled by its own compiler; the key of the noise is the same in every run.
    """
    import jax
    import numpy as np
    from jax import numpy as jnp
    from optax import perturbations

    def one_hots(values: jax.Array) -> jax.Array:
        best = jnp.sort(jax.lax.top_k(values, k)[1], axis=-1)
        return jax.nn.one_hot(best, values.shape[-1])

    smooth = perturbations.make_perturbed_fun(
        one_hots, samples, sigma, perturbations.Normal(), use_baseline=True
    )
    key, given = jax.random.key(0), jnp.asarray(incoming.numpy())

    def there_and_back(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, back = jax.vjp(lambda leaf: smooth(key, leaf), values)
        return value, back(given)[0]

    compiled = jax.jit(there_and_back)
    start = jnp.asarray(scores.numpy())

    def run() -> Tensor:
        value, slope = compiled(start)
        slope.block_until_ready()
        return torch.from_numpy(np.array(value))

    return run
