"""How well a response ranks images by a label: at its top (purity), and all over (AUC)."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

_DEPTHS = (5, 8, 12, 20, 30, 50)


def purity(responses: Float[Tensor, "E n"], positive: Bool[Tensor, "n q"]) -> Float[Tensor, "E q"]:
    """How surely the images with the largest responses are positive, in nats.

    The log-likelihood ratio of k positives among the first m images, share s = k / m, against the
    share b of all images:

        k log(s / b) + (m - k) log((1 - s) / (1 - b)),   negative where s < b,

    the largest over m = 5, 8, 12, 20, 30, 50, as far as there are m positives. Only the top counts:
    a detector of one kind of evidence need not find the others.

    Args:
        responses: of E detectors to n images; minus infinity for an image that must not count.
        positive: which images bear each of q labels.

    Returns:
        Minus infinity where a label has fewer than 5 positive images.
    """
    depths = torch.tensor([m for m in _DEPTHS if m <= len(positive)], device=responses.device)
    if len(depths) == 0:
        return responses.new_full((len(responses), positive.shape[1]), -torch.inf)
    ranked = positive[responses.topk(int(depths[-1]), dim=1).indices]  # (E, m, q)
    k = ranked.cumsum(dim=1)[:, depths - 1].float()  # (E, depths, q)
    m = depths[:, None]
    base = positive.float().mean(dim=0)  # (q,)
    share = k / m
    nats = torch.xlogy(k, share / base) + torch.xlogy(m - k, (1 - share) / (1 - base))
    nats = torch.where(share > base, nats, -nats)
    nats = nats.masked_fill(m > positive.sum(dim=0), -torch.inf)
    return nats.nan_to_num(nan=-torch.inf, neginf=-torch.inf).amax(dim=1)


def auc(
    scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"], strata: Int[Tensor, " n"]
) -> tuple[float, float]:
    """The share of pairs, a positive and a negative image of one stratum, that are ranked rightly.

    Args:
        scores: of the images.
        positive: which images bear the label.
        strata: numbers of the sets that pairs are made in.

    Returns:
        The AUC, ties counting half, and its standard error where scores mean nothing; 0.5 and
        infinity where there are no pairs.
    """
    right = pairs = variance = 0.0
    for stratum in torch.unique(strata).tolist():
        inside = strata == stratum
        high, low = scores[inside & positive], scores[inside & ~positive]
        count = len(high) * len(low)
        if count:
            below = torch.searchsorted(low.sort().values, high).sum()
            up_to = torch.searchsorted(low.sort().values, high, right=True).sum()
            right += float(below + up_to) / 2
            pairs += count
            variance += count * (len(high) + len(low) + 1) / 12
    return (right / pairs, math.sqrt(variance) / pairs) if pairs else (0.5, math.inf)


def stratified_folds(
    bearing: Bool[Tensor, "n classes"],
    groups: Int[Tensor, " n"],
    count: int,
    generator: Generator,
) -> Int[Tensor, " n"]:
    """A fold number for every image: whole groups, every class spread evenly over the folds.

    Large groups are dealt first, each to the fold that lacks most of the classes it bears.
    """
    numbers, members = torch.unique(groups, return_inverse=True)
    content = torch.zeros(len(numbers), bearing.shape[1] + 1, dtype=torch.float64)
    # the last column counts images, so that those without a class are spread too
    content.index_add_(0, members, torch.cat((bearing, torch.ones(len(groups), 1)), 1).double())
    content /= content.sum(dim=0).clamp(min=1)  # shares of each class
    shuffled = torch.randperm(len(numbers), generator=generator)
    order = shuffled[content[shuffled].amax(dim=1).argsort(descending=True, stable=True)]
    held = torch.zeros(count, content.shape[1], dtype=torch.float64)
    fold = torch.empty(len(numbers), dtype=torch.int64)
    for group in order.tolist():
        fullness = (held * content[group]).sum(dim=1)
        chosen = int(fullness.argmin())
        fold[group] = chosen
        held[chosen] += content[group]
    return fold[members]
