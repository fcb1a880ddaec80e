"""One forward and one backward pass of Top-K operators, for the benchmark."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from foveal.paper.operators import OperatorName, select
from foveal.paper.operators.sharpness import uniform


def variants(
    device: str, *, batch: int, candidates: int, k: int, softness: Mapping[OperatorName, float]
) -> dict[str, Callable[[], Tensor]]:
    """What each operator runs, returning its weights; uniform scores, the same for all.

    Args:
        device: cpu or cuda.
        batch: number of images at once.
        candidates: number of windows to select from.
        k: number of windows selected.
        softness: of each operator.
    """
    scores = uniform(batch, candidates).to(device)
    incoming = torch.randn(batch, k, candidates, generator=torch.Generator().manual_seed(0))
    incoming = incoming.to(device)

    def run(name: OperatorName) -> Tensor:
        leaf = scores.clone().requires_grad_()
        noise = torch.Generator(device).manual_seed(1)
        selection = select(name, leaf, k, softness[name], noise)
        index = selection.candidates[:, None].expand_as(selection.weights)
        selection.weights.backward(incoming.gather(2, index))  # type: ignore[no-untyped-call]
        return selection.weights.detach()

    return {name: partial(run, name) for name in softness}
