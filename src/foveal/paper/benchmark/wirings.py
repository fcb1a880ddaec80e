"""Every model on the same images and with the same encoder: a training step, and an answer.

The images are noise and the weights fresh, so that scores lie close together: a soft selection then
has more candidates in reach, and costs more, than late in a training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from foveal.experiment import seeded
from foveal.models import (
    AttentionSampling,
    IterativePatchSelection,
    PatchClassifier,
    WholeImage,
)
from foveal.nn import aggregators
from foveal.nn.cross_attention import CrossAttention
from foveal.nn.encoders import Backbone
from foveal.nn.protocols import Selector
from foveal.nn.scorers import ConvScorer
from foveal.nn.selectors import Sampling, Sinkhorn, TopK
from foveal.objectives import Objective, classification
from foveal.paper.models import nts_topk
from foveal.paper.models.nts_net import NTSNet
from foveal.paper.models.nts_topk import NTSTopK
from foveal.paper.nn.pyramid import AnchorScorer, SqueezeExcitation
from foveal.paper.nn.scorers import excited
from foveal.paper.objectives import parts, ranked_parts
from foveal.topk import Selection, perturbed

Run = Callable[[], Tensor]

CLASSES = 10
TRAINING, INFERENCE = "training", "inference"
_OBJECTIVES: dict[str, Objective] = {"nts_topk": parts, "nts_net": ranked_parts}


@dataclass
class Soft:
    """The perturbed Top-K in evaluation, too, where `TopK` is hard."""

    k: int
    sigma: float
    estimator: Any

    def __call__(self, scores: Float[Tensor, "B N"]) -> Selection:
        """Select K of the N candidates."""
        return perturbed(scores, self.k, self.sigma, estimator=self.estimator)


def variants(
    device: str,
    *,
    batch: int,
    size: int,
    downscale: int,
    patch: int,
    k: int,
    encoder: str,
    models: tuple[str, ...],
) -> dict[str, Run]:
    """A training step and an inference of each model, in turns."""
    images, labels = _batch(batch, size, device)
    found: dict[str, Run] = {}
    for name in models:
        model = build_model(
            name, size=size, downscale=downscale, patch=patch, k=k, encoder=encoder
        ).to(device)
        optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
        objective = _OBJECTIVES.get(name, classification)
        found[f"{name} {TRAINING}"] = partial(_step, model, optimiser, objective, images, labels)
        found[f"{name} {INFERENCE}"] = partial(_answer, model, images)
    return found


def build_model(
    name: str, *, size: int, downscale: int, patch: int, k: int, encoder: str
) -> nn.Module:
    """A model of `foveal.paper.benchmark.costs.MODELS`, for images of `size` px.

    Raises:
        ValueError: these sizes do not fit together.
        UserError: timm has no such encoder.
    """
    with seeded(0):
        network = Backbone(encoder)
        common: dict[str, Any] = {"classes": CLASSES, "encoder": network}
        small = (size // downscale, size // downscale)
        if name == "whole":
            return WholeImage(**common)
        if name == "whole_small":
            return WholeImage(size=small, **common)
        common["patch"] = (patch, patch)
        if name == "iterative":
            join = CrossAttention(network.features)
            grid = (size // patch, size // patch)
            return IterativePatchSelection(aggregate=join, grid=grid, k=k, **common)
        if name in ("nts_topk", "nts_net"):
            return _with_parts(name, size // 2, k, common)
        common |= {"scorer": ConvScorer(), "view": small}
        if name == "attention_sampling":
            return AttentionSampling(select=Sampling(k), **common)
        others: dict[str, Selector] = {
            "hard": TopK(k, sigma=0.0),
            "sinkhorn": Sinkhorn(k),
        }
        select = others.get(name, TopK(k))
        best = name == "max"
        aggregate = aggregators.max if best else aggregators.Transformer(network.features)
        return PatchClassifier(select=select, aggregate=aggregate, **common)


def _with_parts(name: str, whole: int, k: int, common: dict[str, Any]) -> nn.Module:
    """A model for birds that looks at all of the whole."""
    common = common | {"whole": (whole, whole), "size": (whole, whole)}
    features = common["encoder"].features
    if name == "nts_net":
        scorer = AnchorScorer(features)
        return NTSNet(scorer=scorer, k=k, proposals=k * 3 // 2, **common)
    scorer = AnchorScorer(features, exchange=SqueezeExcitation())
    return NTSTopK(scorer=scorer, select=TopK(k), aggregate=nts_topk.mean, **common)


def predictions(
    device: str,
    *,
    batch: int,
    size: int,
    downscale: int,
    patch: int,
    k: int,
    sigma: float,
    estimators: tuple[str, ...],
    encoders: tuple[str, ...],
) -> dict[str, Run]:
    """The patch model, hard and soft, and each encoder on the whole image.

    Raises:
        ValueError: these sizes do not fit together.
        UserError: timm has no such encoder.
    """
    images, _ = _batch(batch, size, device)
    common: dict[str, Any] = {"classes": CLASSES, "patch": (patch, patch)}
    common |= {"view": (size // downscale, size // downscale), "aggregate": aggregators.max}
    with seeded(0):
        networks = {name: Backbone(name) for name in encoders}
        common |= {"encoder": networks[encoders[0]], "scorer": excited(ConvScorer())}

    def looking(select: Selector) -> PatchClassifier:
        with seeded(1):  # the same weights for all
            return PatchClassifier(select=select, **common)

    models: dict[str, nn.Module] = {f"{encoders[0]}, patches, hard": looking(TopK(k))}
    for each in estimators:
        models[f"{encoders[0]}, patches, {each}"] = looking(Soft(k, sigma, each))
    for name, network in networks.items():
        models[f"{name}, whole image"] = WholeImage(encoder=network, classes=CLASSES)
    return {name: partial(_answer, model.to(device), images) for name, model in models.items()}


def _batch(
    batch: int, size: int, device: str
) -> tuple[UInt8[Tensor, "B C H W"], Int[Tensor, " B"]]:
    source = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, generator=source)
    labels = torch.randint(CLASSES, (batch,), generator=source)
    return images.to(device), labels.to(device)


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    images: UInt8[Tensor, "B C H W"],
    labels: Int[Tensor, " B"],
) -> Float[Tensor, "B classes"]:
    model.train()
    optimiser.zero_grad()
    prediction = model(images)
    objective(prediction, labels).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    logits: Tensor = prediction.logits
    return logits.detach()


@torch.inference_mode()
def _answer(model: nn.Module, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
    logits: Tensor = model.eval()(images).logits
    return logits
