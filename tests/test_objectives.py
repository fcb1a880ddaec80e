"""What training minimises, against slow loops."""

import math

import pytest
import torch

from foveal.objectives import classification, multilabel
from foveal.paper.models.parts_prediction import PartsPrediction
from foveal.paper.objectives import parts, ranked_parts
from foveal.topk import Selection


def prediction(seed=0, b=3, k=4, n=9, classes=5):
    random = torch.Generator().manual_seed(seed)

    def made(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64, requires_grad=True)

    numbers = torch.stack([torch.randperm(n, generator=random)[:k] for _ in range(b)])
    return PartsPrediction(
        logits=made(b, classes),
        whole_logits=made(b, classes),
        part_logits=made(b, k, classes),
        scores=made(b, n),
        windows=torch.zeros(n, 4, dtype=torch.int64),
        selection=Selection(numbers, torch.eye(k, dtype=torch.float64).repeat(b, 1, 1)),
        patches=torch.zeros(b, k, 3, 2, 2, dtype=torch.float64),
    )


LABELS = torch.tensor([0, 4, 2])


def cost(logits, label):
    """Cross-entropy of one answer, in plain Python."""
    return math.log(sum(math.exp(x) for x in logits)) - logits[label]


def summed(p):
    """The three cross-entropies by a loop."""
    total = 0.0
    for b, label in enumerate(LABELS.tolist()):
        total += cost(p.logits[b].tolist(), label) + cost(p.whole_logits[b].tolist(), label)
        each = [cost(logits, label) for logits in p.part_logits[b].tolist()]
        total += sum(each) / len(each)
    return total / len(LABELS)


def test_parts_answer_for_themselves_and_the_scorer_is_paid_for_entropy():
    p = prediction()
    shares = p.scores.softmax(dim=1)
    entropy = -(shares * shares.log()).sum(dim=1).mean()
    expected = summed(p) - 0.05 * float(entropy.detach())
    assert float(parts(p, LABELS).detach()) == pytest.approx(expected, rel=1e-12)


def test_the_scorer_is_asked_to_rank_parts_by_their_cost():
    p = prediction(1)
    ranking = 0.0
    for b, label in enumerate(LABELS.tolist()):
        costs = [cost(logits, label) for logits in p.part_logits[b].tolist()]
        scores = [float(p.scores[b, n].detach()) for n in p.selection.candidates[b]]
        for i in range(4):
            for j in range(4):
                if costs[j] > costs[i]:
                    ranking += max(0.0, 1 - scores[i] + scores[j])
    assert ranking > 1
    expected = summed(p) + ranking / 3
    assert float(ranked_parts(p, LABELS).detach()) == pytest.approx(expected, rel=1e-12)


def test_ranking_moves_the_scores_of_the_chosen_windows_alone_and_never_the_parts():
    p = prediction(2)
    ranking = ranked_parts(p, LABELS) - parts(p, LABELS, entropy=0.0)
    scores, logits = torch.autograd.grad(ranking, (p.scores, p.part_logits))
    chosen = torch.zeros(3, 9, dtype=torch.bool).scatter(1, p.selection.candidates, True)
    assert (scores[~chosen] == 0).all()
    assert scores[chosen].abs().max() > 0
    # what the cross-entropy gave the parts is taken away again, to rounding
    assert logits.abs().max() < 1e-15


def test_scores_in_the_right_order_by_a_margin_cost_nothing():
    p = prediction(3, b=1)
    costs = [cost(logits, 1) for logits in p.part_logits[0].tolist()]
    scores = torch.zeros(1, 9, dtype=torch.float64)
    for rank, part in enumerate(sorted(range(4), key=lambda i: costs[i])):
        scores[0, p.selection.candidates[0, part]] = -1.0 * rank
    right = PartsPrediction(**{**vars(p), "scores": scores})
    label = torch.tensor([1])
    assert torch.equal(ranked_parts(right, label), parts(right, label, entropy=0.0))


@pytest.mark.parametrize("objective", [classification, parts, ranked_parts])
def test_class_weights_and_entropy_mean_the_same_in_every_objective(objective):
    p, label = prediction(4, b=1), torch.tensor([2])
    ones = torch.ones(5, dtype=torch.float64)
    plain = objective(p, label, entropy=0.0)
    # one image: its weight cancels in the mean
    torch.testing.assert_close(objective(p, label, entropy=0.0, class_weights=3 * ones), plain)
    assert objective(p, label, entropy=0.1) < plain


SETS = torch.tensor([[True, False, True, False, False], [False] * 5, [True] * 5])


def costs(p):
    """Minus the log of the probability of every answer, yes or no, in plain Python."""
    return [
        [math.log1p(math.exp(-x if borne else x)) for x, borne in zip(*row, strict=True)]
        for row in zip(p.logits.tolist(), SETS.tolist(), strict=True)
    ]


def test_every_class_of_a_set_is_a_question_of_its_own():
    p = prediction(5)
    shares = p.scores.softmax(dim=1)
    entropy = -(shares * shares.log()).sum(dim=1).mean()
    expected = sum(map(sum, costs(p))) / 15 - 0.01 * float(entropy.detach())
    assert float(multilabel(p, SETS).detach()) == pytest.approx(expected, rel=1e-12)


def test_class_weights_weigh_the_questions():
    p, weights = prediction(6), [1.0, 2.0, 0.0, 0.5, 3.0]
    expected = sum(w * x for row in costs(p) for w, x in zip(weights, row, strict=True))
    weighted = multilabel(p, SETS, entropy=0.0, class_weights=torch.tensor(weights))
    assert float(weighted.detach()) == pytest.approx(expected / 3 / sum(weights), rel=1e-12)
