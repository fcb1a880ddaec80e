"""What training minimises."""

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
    labels: Int[Tensor, "B"],
    *,
    entropy: float = 0.01,
    class_weights: Float[Tensor, "classes"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, less a reward for a scorer that keeps its options open.

        loss = CE(logits, labels) - entropy x mean_b H(softmax(scores_b))

    The entropy is that of the *raw* scores over all candidates and is maximised (the released code
    has a negative coefficient and minimises); without it a scorer may fix on a place before it has
    learned anything.

    Args:
        prediction: of a batch.
        labels: class numbers.
        entropy: >= 0; the paper's are 0.01 and 0.05.
        class_weights: relative cost of an error on each class, or None.

    References:
        Cordonnier et al., CVPR 2021, section 4.2.
    """
    loss = cross_entropy(prediction.logits, labels, weight=class_weights)
    return loss - entropy * score_entropy(prediction.scores).mean()


def multilabel(
    prediction: Prediction,
    labels: Bool[Tensor, "B classes"],
    *,
    entropy: float = 0.01,
    class_weights: Float[Tensor, "classes"] | None = None,
) -> Float[Tensor, ""]:
    """`classification` for images that bear sets of classes: a yes or a no is asked for each.

        loss = mean_bc BCE(sigmoid(logits_bc), labels_bc) - entropy x mean_b H(softmax(scores_b))

    Args:
        prediction: of a batch.
        labels: which classes each image bears.
        entropy: see `classification`.
        class_weights: relative cost of an error on each class, or None; the mean over the classes
            is weighted by them.
    """
    costs = binary_cross_entropy_with_logits(
        prediction.logits, labels.to(prediction.logits.dtype), reduction="none"
    ).mean(dim=0)  # (classes,)
    weights = torch.ones_like(costs) if class_weights is None else class_weights
    loss = (costs * weights).sum() / weights.sum()
    return loss - entropy * score_entropy(prediction.scores).mean()
