"""Laws of iterative patch selection."""

import copy

import pytest
import torch
from torch import Tensor, nn

from foveal.models import IterativePatchSelection
from foveal.nn.aggregators import FourierPosition
from foveal.nn.cross_attention import CrossAttention, attention
from foveal.nn.encoders import ThinResNet
from foveal.objectives import classification
from foveal.topk import Selection, hard
from model_contract import CLOSE, ModelContract, noise

PATCH = (24, 24)
N = 5 * 6


def model(*, heads: int = 8, **settings: object) -> IterativePatchSelection:
    torch.manual_seed(0)
    return IterativePatchSelection(
        encoder=ThinResNet(width=16),
        aggregate=CrossAttention(16, heads=heads, position=FourierPosition(16)),
        **{"classes": 4, "grid": (5, 6), "patch": PATCH, "k": 3, "at_once": 4, **settings},
    )


class TestContract(ModelContract):
    k, n, patch = 3, N, PATCH

    def make(self) -> nn.Module:
        return model()


def one_hot(numbers: Tensor) -> Selection:
    return Selection(numbers[None], torch.eye(len(numbers))[None])


def whole(net: IterativePatchSelection, image: Tensor, windows: Tensor) -> Tensor:
    """The features of all N patches, (N, D), cut out of the image with a black margin."""
    wide = nn.functional.pad(image, (24, 24, 24, 24))
    crops = [
        wide[:, top + 24 : bottom + 24, left + 24 : right + 24]
        for top, left, bottom, right in windows.tolist()
    ]
    return net.encoder(torch.stack(crops))


def all_at_once(net: IterativePatchSelection, image: Tensor, windows: Tensor) -> Tensor:
    """The affinities of all N patches, (1, L, N)."""
    places = (windows[:, :2] + 12) / torch.tensor(image.shape[1:])
    return net.aggregate.affinity(
        whole(net, image, windows)[None], one_hot(torch.arange(N)), places
    )


@pytest.mark.parametrize("at_once", [4, 29, 64])
def test_scores_are_the_attention_among_all(at_once: int) -> None:
    net, images = model(at_once=at_once).eval(), noise(2, 3, 120, 144)
    prediction = net(images)
    for image, scores in zip(images, prediction.scores, strict=True):
        expected = attention(all_at_once(net, image, prediction.windows))[0]
        # the features differ by the order in which convolutions of another batch add
        torch.testing.assert_close(scores, expected, **CLOSE)


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_with_one_head_the_choice_is_the_top_k_of_the_scores(at_once: int) -> None:
    prediction = model(heads=1, at_once=at_once).eval()(noise(2, 3, 120, 144))
    expected = hard(prediction.scores, 3)
    assert torch.equal(prediction.selection.candidates, expected.candidates)


def slow(affinity: Tensor, k: int, at_once: int) -> list[int]:
    """One image, patch numbers in plain lists: see some more, rank, keep the best."""
    kept = list[int]()
    for start in range(0, N, at_once):
        kept = kept + list(range(start, min(start + at_once, N)))
        shares = []
        for number in kept:
            heads = [float(row[number].exp() / row[kept].exp().sum()) for row in affinity]
            shares.append(sum(heads) / len(heads))
        best = sorted(range(len(kept)), key=lambda i: (-shares[i], i))[:k]
        kept = sorted(kept[i] for i in best)
    return kept


@pytest.mark.parametrize(("k", "at_once"), [(3, 4), (7, 2), (1, 1), (30, 8)])
def test_the_choice_is_that_of_a_slow_loop(k: int, at_once: int) -> None:
    net = model(k=k, at_once=at_once).eval()
    net.aggregate.position = None
    # patches and heads that differ: the loop's choice is then not the Top-K over all
    net.aggregate.ask.weight.data.mul_(3000)
    images = nn.functional.interpolate(noise(2, 3, 8, 9), (120, 144))
    prediction = net(images)
    if k < N:
        best = hard(prediction.scores, k).candidates
        assert not torch.equal(prediction.selection.candidates, best)
    for image, chosen in zip(images, prediction.selection.candidates, strict=True):
        affinity = all_at_once(net, image, prediction.windows)[0].detach()
        assert chosen.tolist() == slow(affinity, k, at_once)


def test_no_more_patches_are_encoded_at_once_than_was_asked() -> None:
    net, encoded = model(at_once=4).eval(), []
    net.encoder.register_forward_pre_hook(lambda _, given: encoded.append(len(given[0])))
    net(noise(2, 3, 120, 144))
    assert encoded == [2 * 4] * 7 + [2 * 2] + [2 * 3]


def test_gradient_and_batch_statistics_are_those_of_the_kept_patches_alone() -> None:
    net = model(k=4).double().train()
    net.aggregate.eval()  # no dropout, so that the two passes agree
    other = copy.deepcopy(net)
    images, labels = noise(3, 3, 120, 144).double(), torch.tensor([0, 1, 2])
    prediction = net(images)
    classification(prediction, labels, entropy=0.0).backward()

    features = other.encoder(prediction.patches.detach().flatten(0, 1)).view(3, 4, -1)
    places = (prediction.windows[:, :2] + 12).float() / torch.tensor([120, 144])
    logits = other.head(other.aggregate(features, prediction.selection, places))
    torch.testing.assert_close(prediction.logits, logits)
    nn.functional.cross_entropy(logits, labels).backward()
    for (name, one), (_, two) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)
    for (name, one), (_, two) in zip(net.named_buffers(), other.named_buffers(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_of_equal_patches_the_first_are_kept() -> None:
    net = model(k=3).eval()
    net.aggregate.position = None
    prediction = net(torch.zeros(1, 3, 120, 144))
    assert prediction.selection.candidates.tolist() == [[0, 1, 2]]


def test_the_grid_covers_the_image() -> None:
    windows = model()(noise(1, 3, 120, 144)).windows
    covered = torch.zeros(120, 144, dtype=torch.bool)
    for top, left, bottom, right in windows.tolist():
        covered[top:bottom, left:right] = True
    assert covered.all()


def test_impossible_settings_are_refused_with_their_numbers() -> None:
    for k in (0, 31):
        with pytest.raises(ValueError, match=f"got k={k} for 5 x 6 windows"):
            model(k=k)
    with pytest.raises(ValueError, match="at_once must be 1 or more: got 0"):
        model(at_once=0)
