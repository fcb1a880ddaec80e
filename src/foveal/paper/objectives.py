"""The losses of the models that answer from every part, too."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from foveal.objectives import classification
from foveal.paper.models.parts_prediction import PartsPrediction


def parts(
    prediction: PartsPrediction,
    labels: Int[Tensor, " B"],
    *,
    entropy: float = 0.05,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """`classification`, and the same label asked of the whole image and of every part alone.

        loss = CE(logits) + CE(whole) + mean_k CE(part_k) - entropy x mean_b H(softmax(scores_b))

    Args:
        prediction: of a batch.
        labels: class numbers.
        entropy: see `classification`.
        class_weights: relative cost of an error on each class, or None.

    References:
        Cordonnier et al., CVPR 2021, section 5.3.
    """
    k = prediction.part_logits.shape[1]
    each = (
        cross_entropy(prediction.whole_logits, labels, weight=class_weights),
        cross_entropy(
            prediction.part_logits.flatten(0, 1), labels.repeat_interleave(k), weight=class_weights
        ),
    )
    answer = classification(prediction, labels, entropy=entropy, class_weights=class_weights)
    return answer + each[0] + each[1]


def ranked_parts(
    prediction: PartsPrediction,
    labels: Int[Tensor, " B"],
    *,
    entropy: float = 0.0,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """`parts`, and the scorer asked to rank the chosen windows by how well each is classified.

        ranking = 1/B sum_b sum_{i, j: CE_j > CE_i} max(0, 1 - s_i + s_j)

    s are the raw scores of the parts. The cross-entropies CE of the parts only say which of two
    should score higher, and receive no gradient from it.

    Args:
        prediction: of a batch, of a hard selection.
        labels: class numbers.
        entropy: see `classification`; NTS-Net has none.
        class_weights: relative cost of an error on each class, or None; not used in the ranking.

    References:
        Yang et al., Learning to Navigate for Fine-grained Classification, ECCV 2018, eq. 2, and its
        released code, whose margin is 1.
    """
    scores = prediction.scores.gather(1, prediction.selection.candidates)  # (B, K)
    log_shares = prediction.part_logits.detach().log_softmax(dim=2)
    own = labels[:, None, None].expand(*scores.shape, 1)
    costs = -log_shares.gather(2, own)[..., 0]  # (B, K)
    worse = costs[:, None, :] > costs[:, :, None]  # (B, i, j)
    hinge = torch.relu(1 - scores[:, :, None] + scores[:, None, :])
    ranking = torch.where(worse, hinge, 0).sum() / len(labels)
    return ranking + parts(prediction, labels, entropy=entropy, class_weights=class_weights)
