"""What training minimises."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from foveal.nn.scorers import entropy as score_entropy
from foveal.prediction import Prediction


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
