"""The same work for every side: functions that make one forward and one backward pass."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveal.benchmark import plain
from foveal.patches import extract
from foveal.topk import Selection, perturbed
from foveal.windows import regular

PLAIN = "plain"


def names(task: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The sides of a task, the plain one last."""
    ours = settings["estimators"] if task == "selection" else ("extract",)
    return (*ours, PLAIN)


def runs(task: str, settings: Mapping[str, Any], device: str) -> dict[str, Callable[[], Tensor]]:
    """What each side runs, returning its result; the inputs, the same for all, are made here."""
    sides = (
        _selection(device, **settings) if task == "selection" else _extraction(device, **settings)
    )
    return dict(zip(names(task, settings), sides, strict=True))


def _selection(
    device: str,
    *,
    batch: int,
    candidates: int,
    slots: int,
    samples: int,
    sigma: float,
    estimators: tuple[str, ...],
) -> list[Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(0)
    scores = torch.rand(batch, candidates, generator=source).to(device)
    incoming = torch.randn(batch, slots, candidates, generator=source).to(device)
    noise = torch.Generator(device).manual_seed(1)

    def ours(leaf: Float[Tensor, "B N"], estimator: Any) -> Float[Tensor, "B K N"]:
        chosen = perturbed(
            leaf, slots, sigma, estimator=estimator, samples=samples, generator=noise
        )
        return chosen.dense(candidates)

    def theirs(leaf: Float[Tensor, "B N"]) -> Float[Tensor, "B K N"]:
        return plain.selection(leaf, slots, sigma, samples, noise)

    sides = [partial(ours, estimator=estimator) for estimator in estimators] + [theirs]
    return [partial(_there_and_back, side, scores, incoming) for side in sides]


def _extraction(
    device: str,
    *,
    batch: int,
    channels: int,
    image: tuple[int, int],
    grid: tuple[int, int],
    patch: tuple[int, int],
    slots: int,
    reach: int,
) -> list[Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(0)
    n = grid[0] * grid[1]
    images = torch.rand(batch, channels, *image, generator=source).to(device)
    places = regular(image, grid, patch).to(device)
    order = torch.rand(batch, n, generator=source).argsort(dim=1)[:, :reach]
    near = order.sort(dim=1).values.to(device)  # (B, M)
    weights = torch.rand(batch, slots, near.shape[1], generator=source).softmax(dim=2).to(device)
    incoming = torch.randn(batch, slots, channels, *patch, generator=source).to(device)

    def ours(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return extract(images, places, Selection(near, leaf), patch)

    def theirs(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return plain.extraction(images, places, Selection(near, leaf).dense(n))

    return [partial(_there_and_back, side, weights, incoming) for side in (ours, theirs)]


def _there_and_back(side: Callable[[Tensor], Tensor], start: Tensor, incoming: Tensor) -> Tensor:
    """One forward and one backward pass; the forward's result."""
    leaf = start.detach().clone().requires_grad_()
    value = side(leaf)
    value.backward(incoming)  # type: ignore[no-untyped-call]
    return value.detach()
