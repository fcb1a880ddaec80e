"""A training step of the billiards recipe, and the part of it that selects and extracts."""

from collections.abc import Callable

import torch
from torch import Tensor

from foveal.models import PatchClassifier
from foveal.nn.selectors import TopK
from foveal.objectives import classification
from foveal.paper import recipes
from foveal.patches import extract
from foveal.prediction import Prediction

SOFT, PART, HARD = "step", "its selection and extraction", "step, hard selection"


def variants(
    device: str, *, batch: int, size: int, view: int, patch: int, k: int, encoder: str
) -> dict[str, Callable[[], Tensor]]:
    """The step with the exact selection, its selection and extraction alone, and the same step
    with patches that are plain crops."""
    options = {"size": size, "view": (view, view), "patch": patch, "k": k, "encoder": encoder}
    model = recipes.build("billiards", options).model.to(device).train()
    assert isinstance(model, PatchClassifier)
    select = model.select
    assert isinstance(select, TopK)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    source = torch.Generator().manual_seed(0)
    shape = (batch, 3, size, size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=source).to(device)
    labels = torch.randint(9, (batch,), generator=source).to(device)

    def step(noise_scale: float) -> Tensor:
        select.noise_scale = noise_scale
        optimiser.zero_grad()
        prediction: Prediction = model(images)
        classification(prediction, labels, entropy=0.01).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return prediction.logits.detach()

    with torch.no_grad():
        seen: Prediction = model(images)
    incoming = torch.randn(seen.patches.shape, generator=source).to(device)

    def part() -> Tensor:
        select.noise_scale = 1.0
        leaf = seen.scores.clone().requires_grad_()
        selection = select(model.normalise(leaf))
        patches = extract(images, seen.windows, selection, (patch, patch))
        patches.backward(incoming)  # type: ignore[no-untyped-call]
        return patches.detach()

    return {SOFT: lambda: step(1.0), PART: part, HARD: lambda: step(0.0)}
