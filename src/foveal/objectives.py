"""Objectives: the losses that training minimises."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from foveal.nn.scorers import entropy as score_entropy
from foveal.prediction import Prediction

# (prediction, labels (B,) or (B, classes), *, entropy, class_weights) -> loss
Objective = Callable[..., Tensor]


def classification(
    prediction: Prediction,
    labels: Int[Tensor, " B"],
    *,
    entropy: float = 0.01,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, minus a reward for a high entropy of the scores.

        loss = CE(logits, labels) - entropy x mean_b H(softmax(scores_b))

    The entropy is that of the *raw* scores over all candidates, and is maximised (the released code
    has a negative coefficient and minimises it). Without it a scorer may settle on a place before
    the encoder has learned anything.

    Args:
        prediction: prediction for a batch.
        labels: class numbers.
        entropy: weight of the reward, 0 or more; 0.01 and 0.05 in the paper.
        class_weights: relative cost of an error on each class, or None.

    References:
        Cordonnier et al., CVPR 2021, section 4.2.
    """
    loss = label_loss(prediction.logits, labels, class_weights)
    return loss - entropy * score_entropy(prediction.scores).mean()


def label_loss(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"] | Bool[Tensor, "n classes"],
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of class numbers; of several labels an image, binary cross-entropy.

    Args:
        logits: of n images.
        labels: of each.
        class_weights: relative cost of an error on each class, or None. Of several labels, weights
            of the mean over the classes.
    """
    if labels.ndim == 1:
        return cross_entropy(logits, labels, weight=class_weights)
    costs = binary_cross_entropy_with_logits(
        logits, labels.to(logits.dtype), reduction="none"
    ).mean(dim=0)  # (classes,)
    weights = torch.ones_like(costs) if class_weights is None else class_weights
    return (costs * weights).sum() / weights.sum()


def multilabel(
    prediction: Prediction,
    labels: Bool[Tensor, "B classes"],
    *,
    entropy: float = 0.01,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every class, minus the reward of `classification`.

        loss = mean_bc BCE(sigmoid(logits_bc), labels_bc) - entropy x mean_b H(softmax(scores_b))

    Args:
        prediction: prediction for a batch.
        labels: whether each image has each class.
        entropy: weight of the reward, 0 or more.
        class_weights: relative cost of an error on each class, or None; weights of the mean over
            the classes.
    """
    loss = label_loss(prediction.logits, labels, class_weights)
    return loss - entropy * score_entropy(prediction.scores).mean()
