"""The same work for every variant: functions that make one forward and one backward pass."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import foveal._torchvision  # noqa: F401  # before torchvision

# isort: split
from torchvision.ops import roi_align

from foveal.paper.benchmark import baselines, operator_runs, steps, wirings
from foveal.paper.operators import perturbations
from foveal.patches import eager, extract
from foveal.patches.soft import weighted_crops
from foveal.topk import Selection, perturbed, quadrature
from foveal.windows import centred, grid

PLAIN = "plain"
EXACT_EAGER = "exact, PyTorch only"
EAGER = "extract, PyTorch only"
ROI_ALIGN = "roi_align + einsum"
PEERS = (ROI_ALIGN, baselines.OPTAX)


def names(task: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The variants of a task, what they are measured against last."""
    if task == "step":
        return (steps.SOFT, steps.PART, steps.HARD)
    if task == "models":
        hows = (wirings.TRAINING, wirings.INFERENCE)
        return tuple(f"{name} {how}" for name in settings["models"] for how in hows)
    if task == "operators":
        return tuple(settings["softness"])
    if task == "selection":
        estimators = settings["estimators"]
        plain_too = (EXACT_EAGER,) if "exact" in estimators else ()
        return (*estimators, *plain_too, *baselines.present(), PLAIN)
    # torchvision's compiled operators are missing where it was built for another torch
    present = (ROI_ALIGN,) if hasattr(torch.ops.torchvision, "roi_align") else ()
    return ("extract", EAGER, *present, PLAIN)


def alone(task: str, variant: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make as little as one variant needs."""
    alone: dict[str, Any] = {"models": (variant.split()[0],)} if task == "models" else {}
    if task == "operators":
        alone = {"softness": {variant: settings["softness"][variant]}}
    return dict(settings) | alone


def runs(task: str, settings: Mapping[str, Any], device: str) -> dict[str, Callable[[], Tensor]]:
    """What each variant runs, returning its result; the inputs, the same for all, are made here."""
    made: dict[str, Callable[..., dict[str, Callable[[], Tensor]]]] = {
        "selection": _selection,
        "extraction": _extraction,
        "step": steps.variants,
        "models": wirings.variants,
        "operators": operator_runs.variants,
    }
    variants = made[task](device, **settings)
    return {name: variants[name] for name in names(task, settings) if name in variants}


def _selection(
    device: str,
    *,
    batch: int,
    candidates: int,
    k: int,
    samples: int,
    sigma: float,
    estimators: tuple[str, ...],
) -> dict[str, Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(0)
    scores = torch.rand(batch, candidates, generator=source).to(device)
    incoming = torch.randn(batch, k, candidates, generator=source).to(device)
    noise = torch.Generator(device).manual_seed(1)

    def ours(leaf: Float[Tensor, "B N"], estimator: Any) -> Float[Tensor, "B K N"]:
        chosen = perturbed(leaf, k, sigma, estimator=estimator, samples=samples, generator=noise)
        return chosen.dense(candidates)

    def theirs(leaf: Float[Tensor, "B N"]) -> Float[Tensor, "B K N"]:
        return baselines.selection(leaf, k, sigma, samples, noise)

    def eagerly() -> Float[Tensor, "B K N"]:
        near, weights, *rest = quadrature.weights(scores, k, sigma)
        index = near[:, None].expand_as(weights)
        received = incoming.gather(2, index)
        quadrature.gradients(received, scores, sigma, near, weights, *rest)
        return Selection(near, weights).dense(candidates)

    def others(leaf: Float[Tensor, "B N"]) -> Float[Tensor, "B K N"]:
        return perturbations.perturbed(leaf, k, sigma, samples, noise)

    variants = {each: partial(ours, estimator=each) for each in estimators} | {PLAIN: theirs}
    if baselines.OPTAX in baselines.present() and device == "cpu":
        variants[baselines.OPTAX] = others
    runs = {
        name: partial(_there_and_back, variant, scores, incoming)
        for name, variant in variants.items()
    }
    return runs | {EXACT_EAGER: eagerly}


def _extraction(
    device: str,
    *,
    batch: int,
    channels: int,
    image: tuple[int, int],
    stride: int,
    patch: tuple[int, int],
    k: int,
    sigma: float,
) -> dict[str, Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(0)
    rows, columns = ((image[i] - patch[i]) // stride + 1 for i in range(2))
    n = rows * columns
    middle, step = torch.tensor(patch).double() / 2, torch.full((2,), float(stride)).double()
    places = centred(grid(middle, step, (rows, columns)), patch).to(device)  # all inside
    images = torch.rand(batch, channels, *image, generator=source).to(device)
    selection = perturbed(torch.rand(batch, n, generator=source).to(device), k, sigma)
    near = selection.candidates  # (B, M)
    incoming = torch.randn(batch, k, channels, *patch, generator=source).to(device)

    def ours(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return extract(images, places, Selection(near, leaf), patch)

    def eagerly(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return weighted_crops(images, places[near], leaf, patch, eager)

    def cropped(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        boxes = list(places[near][..., [1, 0, 3, 2]].to(images.dtype))  # x before y
        crops = roi_align(images, boxes, patch, sampling_ratio=1, aligned=True)
        return torch.einsum("bkm,bmchw->bkchw", leaf, crops.unflatten(0, near.shape))

    def theirs(leaf: Float[Tensor, "B K M"]) -> Float[Tensor, "B K C h w"]:
        return baselines.extraction(images, places, Selection(near, leaf).dense(n))

    variants = {"extract": ours, EAGER: eagerly, ROI_ALIGN: cropped, PLAIN: theirs}
    weights = selection.weights
    return {
        name: partial(_there_and_back, variant, weights, incoming)
        for name, variant in variants.items()
    }


def _there_and_back(variant: Callable[[Tensor], Tensor], start: Tensor, incoming: Tensor) -> Tensor:
    """One forward and one backward pass; the forward's result."""
    leaf = start.detach().clone().requires_grad_()
    value = variant(leaf)
    value.backward(incoming)  # type: ignore[no-untyped-call]
    return value.detach()
