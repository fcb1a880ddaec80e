"""A cheap model to compare with: pretrained features of the shrunk image, and a linear classifier.

It sees the whole image, as small as the scorer does, and costs a pass of the network and seconds.
If it is as good as the trained model, the images can be shrunk, and foveal is not needed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from foveal.data import Dataset, Splits
from foveal.data.labels import is_correct, is_multilabel
from foveal.evaluation import evaluation_mode
from foveal.models import PatchClassifier
from foveal.nn.encoders import Backbone
from foveal.proposals.survey import Progress

_STRENGTHS = (1e-3, 1e-2, 1e-1)  # of the penalty on the squared weights
_ROUNDS = 100


@dataclass(frozen=True)
class Baseline:
    """How good it is on the test images, or on the validation images where there are none.

    Attributes:
        accuracy: share of images.
        balanced_accuracy: mean recall of the classes.
    """

    accuracy: float
    balanced_accuracy: float


def baseline(
    model: PatchClassifier,
    splits: Splits,
    class_weights: tuple[float, ...] | None,
    progress: Progress,
) -> Baseline:
    """Fit the classifier on the training images and judge it.

    Args:
        model: with a pretrained encoder, as yet untrained; it stays as it was.
        splits: the images. The strength of the penalty is chosen on the validation images.
        class_weights: of the loss.
        progress: called with the number of images done, and of all.
    """
    assert isinstance(model.encoder, Backbone)
    parts = [splits.train, splits.validation, splits.test or splits.validation]
    total, done, features = sum(map(len, parts)), 0, []
    for part in parts:
        rows = []
        for index in range(len(part)):
            rows.append(_features(model, model.encoder, part, index))
            done += 1
            progress(done, total)
        features.append(torch.stack(rows))
    mean, deviation = features[0].mean(dim=0), features[0].std(dim=0).clamp(min=1e-6)
    train, validation, test = ((each - mean) / deviation for each in features)
    weights = None if class_weights is None else torch.tensor(class_weights)
    fitted = [_fit(train, splits.train.labels, model.classes, weights, s) for s in _STRENGTHS]
    losses = [float(_loss(c(validation), splits.validation.labels, None)) for c in fitted]
    best = fitted[losses.index(min(losses))]
    return _judged(best(test), parts[2].labels)


def _features(
    model: PatchClassifier, encoder: Backbone, images: Dataset, index: int
) -> Float[Tensor, " D"]:
    """Mean and largest value of every feature over the view, on the CPU."""
    device = next(model.parameters()).device
    with evaluation_mode(model):
        maps = encoder.maps(model.geometry.views([images[index].image], device))[0]
        return torch.cat((maps.mean(dim=(1, 2)), maps.amax(dim=(1, 2)))).cpu().clone()


def _fit(
    features: Float[Tensor, "n D"],
    labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"],
    classes: int,
    weights: Float[Tensor, " classes"] | None,
    strength: float,
) -> nn.Linear:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        linear = nn.Linear(features.shape[1], classes)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        optimiser = torch.optim.LBFGS(
            linear.parameters(), max_iter=_ROUNDS, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = _loss(linear(features), labels, weights)
            loss = loss + strength * linear.weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return linear.requires_grad_(False)


def _loss(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"],
    weights: Float[Tensor, " classes"] | None,
) -> Float[Tensor, ""]:
    if is_multilabel(labels):
        return binary_cross_entropy_with_logits(logits, labels.float())
    return cross_entropy(logits, labels, weight=weights)


def _judged(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"]
) -> Baseline:
    correct = is_correct(logits, labels).float()
    if is_multilabel(labels):
        return Baseline(float(correct.mean()), float(correct.mean()))
    recalls = [correct[labels == label].mean() for label in torch.unique(labels)]
    return Baseline(float(correct.mean()), float(torch.stack(recalls).mean()))
