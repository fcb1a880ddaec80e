"""What the small view as a whole says: a linear classifier of the frozen features of the scorer.

It costs a pass of these features and seconds, and is there to compare with: if it is as good as
the trained model, the images can be shrunk, and foveal is not needed. Where windows do not tell
everything, it adds to the answer; validation images say how much each of the two counts.
"""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from foveal._precision import rounding
from foveal.data import Dataset, Splits
from foveal.data.labels import is_correct, is_multilabel
from foveal.evaluation import evaluation_mode
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Vote
from foveal.nn.global_head import summary
from foveal.nn.scorers import BackboneScorer
from foveal.objectives import label_loss
from foveal.proposals.survey import Progress
from foveal.settings import Precision

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the penalty on the squared weights
_ROUNDS = 100
_WINDOWS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)  # factors on the logits of the windows
_VIEWS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)  # and on those of the view
_BATCH = 8


@dataclass(frozen=True)
class FittedHead:
    """A fitted classifier, and how good it is.

    Attributes:
        accuracy: share of test images, or of validation images where there are none.
        balanced_accuracy: mean recall of the classes on the same images.
        weight: (classes, 2 D), of `foveal.nn.global_head.summary`.
        bias: (classes,).
        validation: (n, classes), logits of the validation images.
    """

    accuracy: float
    balanced_accuracy: float
    weight: Tensor
    bias: Tensor
    validation: Tensor

    @property
    def figures(self) -> dict[str, float]:
        """How good it is."""
        return {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy}


@dataclass(frozen=True)
class Mixture:
    """How much the windows, and the view as a whole, count in the answer."""

    windows: float
    view: float

    def __str__(self) -> str:
        return (
            f"the windows count {self.windows:.2f} and the small view as a whole {self.view:.2f} "
            "in the answer, as far as the validation images speak for them"
        )


def fit_global_head(
    model: PatchClassifier,
    splits: Splits,
    class_weights: tuple[float, ...] | None,
    progress: Progress,
    precision: Precision = "auto",
) -> FittedHead:
    """Fit the classifier on the training images and judge it.

    Args:
        model: with a frozen `BackboneScorer`; it stays as it was.
        splits: the images. The strength of the penalty is chosen on the validation images.
        class_weights: of the loss.
        progress: called with the number of images done, and of all.
        precision: that the frozen network computes with.
    """
    parts = [splits.train, splits.validation, splits.test or splits.validation]
    total, done, features = sum(map(len, parts)), 0, []
    for part in parts:
        rows = []
        for index in range(len(part)):
            rows.append(_features(model, part, index, precision))
            done += 1
            progress(done, total)
        features.append(torch.stack(rows))
    mean, deviation = features[0].mean(dim=0), features[0].std(dim=0).clamp(min=1e-6)
    train, validation, test = ((each - mean) / deviation for each in features)
    weights = None if class_weights is None else torch.tensor(class_weights)
    fitted = [_fit(train, splits.train.labels, model.classes, weights, s) for s in _STRENGTHS]
    losses = [float(label_loss(c(validation), splits.validation.labels, None)) for c in fitted]
    best = fitted[losses.index(min(losses))]
    accuracy, balanced = _judged(best(test), parts[2].labels)
    weight = best.weight / deviation
    return FittedHead(accuracy, balanced, weight, best.bias - weight @ mean, best(validation))


def mix(
    model: PatchClassifier,
    fitted: FittedHead,
    validation: Dataset,
    precision: Precision = "auto",
) -> Mixture | None:
    """Let the view add to the answer of the windows, as far as validation images speak for it.

    The factors of the two become part of the weights, see `weigh`.

    Args:
        model: with a global head, which is zero as yet.
        fitted: what to set it to.
        validation: images to choose the factors by.
        precision: that networks compute with.

    Returns:
        The factors; None, and the model stays as it was, if its windows do not vote.
    """
    if model.global_head is None or not isinstance(model.aggregate, Vote):
        return None
    mixture = weigh(_logits(model, validation, precision), fitted.validation, validation.labels)
    model.aggregate.scale(mixture.windows)
    with torch.no_grad():
        model.global_head.linear.weight.copy_(mixture.view * fitted.weight)
        model.global_head.linear.bias.copy_(mixture.view * fitted.bias)
    return mixture


def weigh(
    windows: Float[Tensor, "n classes"],
    view: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"],
) -> Mixture:
    """How much two answers count: the mean of their factors, each pair by its likelihood.

        mixture = sum_f f p_f,    p_f proportional to exp(-n loss_f),    f = (windows, view)

    The best pair of a few images would often leave one of the two out by chance. Where many
    images speak, this is the best pair; where few do, both count.

    Args:
        windows: logits of the windows.
        view: logits of the view.
        labels: of the same images, on which neither was trained.
    """
    factors = torch.tensor(list(product(_WINDOWS, _VIEWS)))
    losses = torch.stack([label_loss(a * windows + b * view, labels) for a, b in factors])
    likelihood = (-len(labels) * losses).softmax(dim=0)
    return Mixture(*(likelihood @ factors).tolist())


def _logits(
    model: PatchClassifier, images: Dataset, precision: Precision
) -> Float[Tensor, "n classes"]:
    """Logits of every image, on the CPU."""
    found, device = [], next(model.parameters()).device
    with evaluation_mode(model), rounding(precision, device.type):
        for start in range(0, len(images), _BATCH):
            some = range(start, min(start + _BATCH, len(images)))
            found.append(model([images[index].image for index in some]).logits.cpu())
    return torch.cat(found).clone()


def _features(
    model: PatchClassifier, images: Dataset, index: int, precision: Precision
) -> Float[Tensor, " E"]:
    """Mean and largest value of every feature over the view, on the CPU."""
    assert isinstance(model.scorer, BackboneScorer)
    device = next(model.parameters()).device
    with evaluation_mode(model):
        views = model.geometry.views([images[index].image], device)
        with rounding(precision, device.type):
            features = model.scorer.features(views)
        return summary(features)[0].cpu().clone()


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
            loss = label_loss(linear(features), labels, weights)
            loss = loss + strength * linear.weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return linear.requires_grad_(False)


def _judged(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"]
) -> tuple[float, float]:
    """Accuracy and balanced accuracy."""
    correct = is_correct(logits, labels).float()
    if is_multilabel(labels):
        return float(correct.mean()), float(correct.mean())
    recalls = [correct[labels == label].mean() for label in torch.unique(labels)]
    return float(correct.mean()), float(torch.stack(recalls).mean())
