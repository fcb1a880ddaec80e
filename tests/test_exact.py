"""Laws of the exact Top-K's implementations, and how torch's transformations take them.

What the values must be is tested in test_topk.py; here all implementations must give the same.
"""

import os
import shutil
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal import topk
from foveal.topk import compiled, quadrature

built = pytest.mark.skipif(not compiled.AVAILABLE, reason="foveal was installed without a compiler")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradient(
    loops: ModuleType, scores: Tensor, k: int, sigma: float, incoming: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Dense weights, and the gradients of <incoming, weights> to the scores and to sigma."""
    candidates, weights, plan, counts = loops.weights(scores, k, sigma)
    index = candidates[:, None].expand_as(weights)
    dense = torch.zeros_like(incoming).scatter_add_(2, index, weights)
    near = incoming.gather(2, index)
    return dense, *loops.gradients(near, scores, sigma, candidates, weights, plan, counts)


def value(scores: Tensor, incoming: Tensor, sigma: float | Tensor = 0.05) -> Tensor:
    """A scalar function of the scores through the public name."""
    k, n = incoming.shape[-2:]
    return (topk.perturbed(scores, k, sigma).dense(n) * incoming).sum()


def test_the_loops_are_compiled_wherever_there_was_a_compiler() -> None:
    assert compiled.AVAILABLE or not (shutil.which("cc") or shutil.which("gcc"))


@built
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 120),
    share=st.floats(0, 1),
    exponent=st.floats(-6, 3),
    levels=st.sampled_from([2, 5, 10**6]),
    seed=st.integers(0, 10**6),
)
def test_compiled_loops_and_plain_pytorch_agree(
    n: int, share: float, exponent: float, levels: int, seed: int
) -> None:
    k = 1 + int(share * min(n - 1, 12))
    random = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (2, n), generator=random).double() / (levels - 1)
    sigma, incoming = 10**exponent, normal(2, k, n, seed=seed)
    ours = value_and_gradient(compiled, scores, k, sigma, incoming)
    plain = value_and_gradient(quadrature, scores, k, sigma, incoming)
    for mine, theirs, unit in zip(ours, plain, (1, sigma, sigma), strict=True):
        # Both approximate Phi to 1e-12 and add up some thousand terms of order one.
        torch.testing.assert_close(mine * unit, theirs * unit, rtol=0, atol=1e-9)


@built
def test_counts_without_a_chance_are_left_out_without_a_trace() -> None:
    """With many slots, the compiled loops skip most counts; plain PyTorch keeps them all."""
    scores, incoming = normal(1, 300).sigmoid(), normal(1, 80, 300, seed=1)
    ours = value_and_gradient(compiled, scores, 80, 0.05, incoming)
    plain = value_and_gradient(quadrature, scores, 80, 0.05, incoming)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-8)


@pytest.mark.parametrize("loops", [pytest.param(compiled, marks=built), quadrature])
def test_single_precision_scores_are_computed_in_double(loops: ModuleType) -> None:
    scores, incoming = normal(2, 60).float(), normal(2, 4, 60, seed=1)
    single = value_and_gradient(loops, scores, 4, 0.1, incoming.float())
    double = value_and_gradient(loops, scores.double(), 4, 0.1, incoming.float().double())
    for mine, theirs in zip(single, double, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=2e-6, atol=2e-6)


@built
def test_the_number_of_threads_changes_nothing() -> None:
    scores, incoming, before = normal(5, 70), normal(5, 3, 70, seed=1), torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(value_and_gradient(compiled, scores, 3, 0.2, incoming))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_million_candidates_cost_what_is_in_reach() -> None:
    scores = torch.zeros(2, 10**6)
    scores[:, ::100_000] = torch.linspace(0.9, 1, 10)
    selection = topk.perturbed(scores, 3, 0.01)
    assert selection.weights.shape == (2, 3, 10)
    torch.testing.assert_close(selection.weights.sum(dim=2), torch.ones(2, 3))


def test_functional_gradients_and_maps_go_through() -> None:
    scores, incoming = normal(3, 20), normal(4, 20, seed=1)
    leaf = scores.clone().requires_grad_()
    value(leaf, incoming).backward()

    def alone(row: Tensor) -> Tensor:
        return value(row[None], incoming)

    for slope in (
        torch.func.grad(value)(scores, incoming),
        torch.func.vmap(torch.func.grad(alone))(scores),
        torch.func.vmap(torch.func.grad(alone), in_dims=1)(scores.T.contiguous()),
        torch.func.jacrev(value)(scores, incoming),
    ):
        torch.testing.assert_close(slope, leaf.grad)
    jacobian = torch.func.jacrev(lambda s: topk.perturbed(s, 4, 0.05).dense(20))(scores)
    torch.testing.assert_close(torch.einsum("kn,bknbm->bm", incoming, jacobian), leaf.grad)


def test_a_second_derivative_is_refused_in_words() -> None:
    leaf = normal(1, 9).requires_grad_()
    (slope,) = torch.autograd.grad(value(leaf, normal(2, 9)), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        slope.square().sum().backward()


GRAPHS = """
import torch
from foveal import topk

def value(scores, incoming):
    return (topk.perturbed(scores, 4, 0.05).dense(20) * incoming).sum()

class Soft(torch.nn.Module):
    def forward(self, scores):
        return topk.perturbed(scores, 4, 0.05).dense(20)

scores, incoming = torch.rand(2, 3, 20).double().unbind()
incoming = torch.randn(4, 20).double()
slopes = []
for function in (value, torch.compile(value, fullgraph=True, backend="aot_eager")):
    leaf = scores.clone().requires_grad_()
    function(leaf, incoming).backward()
    slopes.append(leaf.grad)
torch.testing.assert_close(*slopes)

exported = torch.export.export(Soft(), (scores,)).module()
torch.testing.assert_close(exported(scores.flip(1)), Soft()(scores.flip(1)))
"""


def test_compiled_and_exported_graphs_hold_it_whole() -> None:
    # In a process of its own: torch.compile cannot look through the checks of types in tests.
    subprocess.run([sys.executable, "-c", GRAPHS], check=True)


INTERPRETED = """
import torch
from foveal.topk import gpu, quadrature

for b, n, k, sigma in (
    (2, 12, 3, 0.2), (3, 20, 1, 0.1), (2, 9, 9, 0.3), (1, 17, 5, 0.05), (1, 40, 2, 0.004)
):
    scores = torch.rand(b, n, dtype=torch.float64)
    plain = quadrature.weights(scores, k, sigma, first=gpu.FIRST)
    fused = gpu.weights(scores, k, sigma)
    incoming = torch.randn_like(plain[1])
    slopes = quadrature.gradients(incoming, scores, sigma, *plain)
    for ours, theirs in zip(
        (*fused, *gpu.gradients(incoming, scores, sigma, *plain)), (*plain, *slopes), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
"""


def test_the_gpu_kernel_agrees_with_plain_pytorch() -> None:
    pytest.importorskip("triton", reason="Triton, which comes with torch's CUDA builds, is absent")
    # Triton reads a kernel's source, which the checks of types in tests would stand before.
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", INTERPRETED], check=True, env=environment)


def test_the_operators_tell_torch_the_truth_about_themselves() -> None:
    scores, sigma = normal(2, 12), torch.tensor(0.1, dtype=torch.float64)
    made = torch.ops.foveal.exact_topk(scores, sigma, 3)
    torch.library.opcheck(torch.ops.foveal.exact_topk.default, (scores, sigma, 3))
    torch.library.opcheck(
        torch.ops.foveal.exact_topk_gradient.default, (made[1] * 2, scores, sigma, *made)
    )
