"""Laws of iterative patch selection."""

import copy

import pytest
import torch
from torch import Tensor, nn

import reference
from foveal.models import IterativePatchSelection
from foveal.nn.aggregators import FourierPosition
from foveal.nn.cross_attention import CrossAttention
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
    """The features of all N patches, (N, D), cut out pixel by pixel."""
    crops = [reference.crop(image, tuple(window), PATCH) for window in windows.tolist()]
    return net.encoder(torch.stack(crops))


@pytest.mark.parametrize("at_once", [1, 4, 29, 30, 64])
def test_with_one_head_it_is_the_top_k_of_the_attention_over_all(at_once: int) -> None:
    net, images = model(heads=1, at_once=at_once).eval(), noise(2, 3, 120, 144)
    prediction = net(images)
    places = (prediction.windows[:, :2] + 12) / torch.tensor([120, 144])
    for image, chosen in zip(images, prediction.selection.candidates, strict=True):
        features = whole(net, image, prediction.windows)
        attention = net.aggregate.attention(features[None], one_hot(torch.arange(N)), places)
        assert torch.equal(chosen, hard(attention, 3).candidates[0])


def slow(net: IterativePatchSelection, features: Tensor, places: Tensor) -> tuple[list, list]:
    """One image, patch numbers in plain lists: see some more, rank, keep the best."""
    kept, scores = list[int](), [0.0] * len(features)
    for start in range(0, len(features), net.at_once):
        kept = kept + list(range(start, min(start + net.at_once, len(features))))
        selection = one_hot(torch.tensor(kept))
        attention = net.aggregate.attention(features[kept][None], selection, places)[0].tolist()
        for number, share in zip(kept, attention, strict=True):
            scores[number] = share
        best = sorted(range(len(kept)), key=lambda i: (-attention[i], i))[: net.k]
        kept = sorted(kept[i] for i in best)
    return kept, scores


@pytest.mark.parametrize(("k", "at_once"), [(3, 4), (7, 2), (1, 1), (30, 8)])
def test_choice_and_scores_are_those_of_a_slow_loop(k: int, at_once: int) -> None:
    net, images = model(k=k, at_once=at_once).eval(), noise(2, 3, 120, 144)
    prediction = net(images)
    places = (prediction.windows[:, :2] + 12) / torch.tensor([120, 144])
    for b, image in enumerate(images):
        kept, scores = slow(net, whole(net, image, prediction.windows), places)
        assert prediction.selection.candidates[b].tolist() == kept
        # the features differ by the order in which convolutions of another batch add
        torch.testing.assert_close(prediction.scores[b], torch.tensor(scores), **CLOSE)


def test_no_more_patches_are_encoded_or_compared_at_once_than_was_asked() -> None:
    net = model(at_once=4).eval()
    encoded, compared = [], []
    net.encoder.register_forward_pre_hook(lambda _, given: encoded.append(len(given[0])))
    attention = net.aggregate.attention
    net.aggregate.attention = lambda features, *rest: (
        compared.append(features.shape[1]) or attention(features, *rest)
    )
    net(noise(2, 3, 120, 144))
    assert encoded == [2 * 4] * 7 + [2 * 2] + [2 * 3]
    assert compared == [4] + [3 + 4] * 6 + [3 + 2]


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
