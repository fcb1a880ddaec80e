"""The same work for every side: functions that make one forward and one backward pass."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import foveal.torchvision_compat  # noqa: F401  # before torchvision

# isort: split
from torchvision.ops import roi_align

from foveal.benchmark import plain
from foveal.patches import eager, extract
from foveal.patches.soft import weighted
from foveal.topk import Selection, perturbed
from foveal.windows import centred, grid

PLAIN = "plain"
EAGER = "extract, PyTorch only"
ROI_ALIGN = "roi_align + einsum"


def names(task: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The sides of a task, the plain one last."""
    if task == "selection":
        return (*settings["estimators"], PLAIN)
    # torchvision's compiled operators are missing where it was built for another torch
    present = (ROI_ALIGN,) if hasattr(torch.ops.torchvision, "roi_align") else ()
    return ("extract", EAGER, *present, PLAIN)


def runs(task: str, settings: Mapping[str, Any], device: str) -> dict[str, Callable[[], Tensor]]:
    """What each side runs, returning its result; the inputs, the same for all, are made here."""
    sides = (
        _selection(device, **settings) if task == "selection" else _extraction(device, **settings)
    )
    return {name: sides[name] for name in names(task, settings)}


def _selection(
    device: str,
    *,
    batch: int,
    candidates: int,
    slots: int,
    samples: int,
    sigma: float,
    estimators: tuple[str, ...],
) -> dict[str, Callable[[], Tensor]]:
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

    sides = {each: partial(ours, estimator=each) for each in estimators} | {PLAIN: theirs}
    return {name: partial(_there_and_back, side, scores, incoming) for name, side in sides.items()}


def _extraction(
    device: str,
    *,
    batch: int,
    channels: int,
    image: tuple[int, int],
    stride: int,
    patch: tuple[int, int],
    slots: int,
    sigma: float,
) -> dict[str, Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(0)
    rows, columns = ((image[i] - patch[i]) // stride + 1 for i in range(2))
    n = rows * columns
    middle, step = torch.tensor(patch).double() / 2, torch.full((2,), float(stride)).double()
    places = centred(grid(middle, step, (rows, columns)), patch).to(device)  # all inside
    images = torch.rand(batch, channels, *image, generator=source).to(device)
    selection = perturbed(torch.rand(batch, n, generator=source).to(device), slots, sigma)
    near = selection.candidates  # (B, M)
    incoming = torch.randn(batch, slots, channels, *patch, generator=source).to(device)

    def ours(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return extract(images, places, Selection(near, leaf), patch)

    def eagerly(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return weighted(images, places[near], leaf, patch, eager)

    def cropped(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        boxes = list(places[near][..., [1, 0, 3, 2]].to(images.dtype))  # x before y
        crops = roi_align(images, boxes, patch, sampling_ratio=1, aligned=True)
        return torch.einsum("bkm,bmchw->bkchw", leaf, crops.unflatten(0, near.shape))

    def theirs(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return plain.extraction(images, places, Selection(near, leaf).dense(n))

    sides = {"extract": ours, EAGER: eagerly, ROI_ALIGN: cropped, PLAIN: theirs}
    weights = selection.weights
    return {name: partial(_there_and_back, side, weights, incoming) for name, side in sides.items()}


def _there_and_back(side: Callable[[Tensor], Tensor], start: Tensor, incoming: Tensor) -> Tensor:
    """One forward and one backward pass; the forward's result."""
    leaf = start.detach().clone().requires_grad_()
    value = side(leaf)
    value.backward(incoming)  # type: ignore[no-untyped-call]
    return value.detach()
