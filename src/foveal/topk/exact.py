"""The perturbed Top-K in closed form up to one integral: no sampling, no noise, no bias.

In units of sigma, let x_i be the scores, p_i(t) = Phi(x_i - t) the chance that candidate i lands
above t and f_i(t) = phi(x_i - t) its density at t. Integrate over the *threshold* t, the value of
the k-th largest: exactly one chosen candidate stands at t, the k - 1 others above it. Candidate i
fills slot j when j - 1 of the chosen ones come before it and k - j after it. Over the candidates
before i, let A_i(c) be the chance that c of them are above t and none stands at t, A'_i(c) the
density that c are chosen and one of these stands at t:

    A_{i+1}(c)  = (1 - p_i) A_i(c)  + p_i A_i(c-1)
    A'_{i+1}(c) = (1 - p_i) A'_i(c) + p_i A'_i(c-1) + f_i A_i(c-1)

and B, B' the same from the other end. Then

    W[j, i] = int dt  f_i A_i(j-1) B_i(k-j) + p_i ( A'_i(j-1) B_i(k-j) + A_i(j-1) B'_i(k-j) ).

For the gradient of <G, W> the recurrences also carry V, V', the same chances times the sum of G
over the slots filled so far. The integrand is linear in (1 - p_i, p_i, f_i) for every i; its three
coefficients, the value with i left out, above and at the threshold, give d<G, W> / dx_i.

The inclusion probabilities alone are known from order sampling (Aires 1999; Traat et al. 2004).

Two custom operators do the work, `foveal::exact_topk` and its gradient, so that torch.compile,
torch.export, torch.func.grad and vmap work: in compiled loops on the CPU, in Triton kernels on a
GPU, and otherwise in plain PyTorch. Results are the same for the same number of nodes, of which a
GPU takes 64 at first and the others 16.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.topk import compiled, gpu, quadrature
from foveal.topk.hard import check_finite
from foveal.topk.selection import Selection


def exact(scores: Float[Tensor, "B N"], k: int, sigma: float | Float[Tensor, ""]) -> Selection:
    """The expected selection under Gaussian noise and its gradient, by quadrature.

    Time O(M K Q) and memory O(M K) for M active candidates and Q nodes: 16, doubled up to 256 until
    the rows sum to one. Computed in float64 whatever the type of the scores; their device must have
    that type. It has first derivatives only.

    Args:
        scores: finite, any float type.
        k: number of slots, 1..N.
        sigma: standard deviation of the noise, > 0; a tensor receives a gradient.

    Returns:
        A selection over the active candidates.

    Raises:
        ValueError: a score is NaN or infinite.
    """
    wide = scores.float() if scores.dtype.itemsize < 4 else scores
    width = torch.as_tensor(sigma, dtype=torch.float64)
    candidates, weights, _, _ = _Topk.apply(wide, width, k)  # type: ignore[no-untyped-call]
    return Selection(candidates, weights.to(scores.dtype))


def _backend(scores: Tensor) -> ModuleType:
    """The fastest backend for the device."""
    if scores.device.type == "cpu" and compiled.AVAILABLE:
        return compiled
    if scores.device.type == "cuda" and gpu.AVAILABLE:
        return gpu
    return quadrature


@torch.library.custom_op(
    "foveal::exact_topk",
    mutates_args=(),
    schema="(Tensor scores, Tensor sigma, int k) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _topk(scores: Tensor, sigma: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    backend = _backend(scores)
    if backend is compiled:  # the others see to it
        check_finite(scores)
    value: tuple[Tensor, Tensor, Tensor, Tensor] = backend.weights(scores, k, float(sigma))
    return value


@torch.library.custom_op(
    "foveal::exact_topk_gradient",
    mutates_args=(),
    schema="(Tensor incoming, Tensor scores, Tensor sigma, Tensor candidates, Tensor weights, "
    "Tensor plan, Tensor counts) -> (Tensor, Tensor)",
)
def _gradient(
    incoming: Tensor, scores: Tensor, sigma: Tensor, *saved: Tensor
) -> tuple[Tensor, Tensor]:
    value: tuple[Tensor, Tensor] = _backend(scores).gradients(
        incoming, scores, float(sigma), *saved
    )
    return value


@_topk.register_fake
def _(scores: Tensor, sigma: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    b, m = scores.shape[0], torch.library.get_ctx().new_dynamic_size(min=k)
    return (
        scores.new_empty(b, m, dtype=torch.int64),
        scores.new_empty(b, k, m),
        scores.new_empty(b, 4, dtype=torch.float64),
        scores.new_empty(b, 2, dtype=torch.int64),
    )


@_gradient.register_fake
def _(incoming: Tensor, scores: Tensor, sigma: Tensor, *saved: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(scores), scores.new_empty(scores.shape[0], dtype=torch.float64)


class _Topk(torch.autograd.Function):
    """The operator with its gradient, under autograd and under torch.func."""

    @staticmethod
    def forward(scores: Tensor, sigma: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value: tuple[Tensor, Tensor, Tensor, Tensor] = _topk(scores, sigma, k)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        candidates, weights, plan, counts = output
        ctx.mark_non_differentiable(candidates, plan, counts)
        ctx.save_for_backward(inputs[0], inputs[1], candidates, weights, plan, counts)

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor, Tensor | None, None]:
        scores, sigma, candidates, weights, plan, counts = ctx.saved_tensors
        to_scores, to_sigma = _Gradient.apply(  # type: ignore[no-untyped-call]
            incoming[1], scores, sigma, candidates, weights, plan, counts
        )
        # sigma may be on another device
        return to_scores, to_sigma.sum().to(sigma) if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], scores: Tensor, sigma: Tensor, k: int
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """The mapped axis joins the batch."""
        if in_dims[1] is not None:
            raise NotImplementedError("vmap over sigma: map a function of the scores instead")
        output = _Topk.apply(_merge_batch(scores, in_dims[0], info), sigma, k)  # type: ignore[no-untyped-call]
        return tuple(_split_batch(each, info) for each in output), (0,) * len(output)


class _Gradient(torch.autograd.Function):
    """The gradient operator, which has no gradient itself."""

    @staticmethod
    def forward(  # named: torch.compile refuses *inputs
        incoming: Tensor,
        scores: Tensor,
        sigma: Tensor,
        candidates: Tensor,
        weights: Tensor,
        plan: Tensor,
        counts: Tensor,
    ) -> tuple[Tensor, Tensor]:
        value: tuple[Tensor, Tensor] = _gradient(
            incoming, scores, sigma, candidates, weights, plan, counts
        )
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> None:
        raise RuntimeError("the exact Top-K has first derivatives only: its gradient has none")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        incoming, scores, sigma, *saved = (
            each if i == 2 else _merge_batch(each, in_dims[i], info)
            for i, each in enumerate(inputs)
        )
        output = _Gradient.apply(incoming, scores, sigma, *saved)  # type: ignore[no-untyped-call]
        return tuple(_split_batch(each, info) for each in output), (0, 0)


def _merge_batch(value: Tensor, dim: int | None, info: Any) -> Tensor:
    """Mapped values (V, B, ...) as one batch (V B, ...)."""
    if dim is None:
        value, dim = value.expand(info.batch_size, *value.shape), 0
    return value.movedim(dim, 0).flatten(0, 1)


def _split_batch(value: Tensor, info: Any) -> Tensor:
    return value.view(info.batch_size, -1, *value.shape[1:])
