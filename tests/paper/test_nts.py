"""Contracts of the two models that know birds by their parts, on a small network."""

from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from foveal import windows
from foveal.images import TensorImage
from foveal.nn.encoders import Backbone
from foveal.nn.selectors import TopK
from foveal.paper.models.nts_net import NTSNet
from foveal.paper.models.nts_topk import NTSTopK, concat, mean
from foveal.paper.nn.anchors import anchors
from foveal.paper.nn.pyramid import AnchorScorer, Attention, SqueezeExcitation
from foveal.paper.objectives import parts, ranked_parts
from model_contract import ModelContract

SIZES = {"whole": (80, 80), "size": (64, 64), "patch": (32, 32)}


def topk(aggregate=mean, exchange=SqueezeExcitation, k=3, **changes):
    torch.manual_seed(0)
    encoder = Backbone("test_resnet")
    scorer = AnchorScorer(encoder.features, exchange=exchange and exchange())
    settings = {"encoder": encoder, "select": TopK(k), "aggregate": aggregate, "classes": 4}
    return NTSTopK(scorer=scorer, **{**SIZES, **settings, **changes})


def net(k=2, proposals=3, **changes):
    torch.manual_seed(0)
    encoder = Backbone("test_resnet")
    scorer = AnchorScorer(encoder.features)
    settings = {"encoder": encoder, "scorer": scorer, "classes": 4, "k": k, "proposals": proposals}
    return NTSNet(**{**SIZES, **settings, **changes})


N = 4 * 6 + 1 * 6 + 1 * 9  # 64 px: 2 x 2, 1 and 1 points
MODELS = {
    "mean, squeeze-excitation": topk,
    "concat, attention": partial(
        topk, aggregate=concat, exchange=partial(Attention, positions=4 + 1 + 1)
    ),
    "nts net": net,
}
EACH = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


class BirdContract(ModelContract):
    """Images as large as the whole: their middle is seen, and a patch is a window, resampled."""

    n, patch, close = N, (32, 32), {"rtol": 1e-4, "atol": 1e-5}

    def look(self, image, window):
        seen = torch.zeros(image.shape)
        seen[:, 16:80, 32:96] = image[:, 16:80, 32:96]  # what overhangs the middle is black
        return TensorImage(seen).crops(torch.tensor([window]), (32, 32))[0]

    def make_learner(self):
        model = self.make()
        for part in model.encoder.modules():  # as if trained: residual branches start at nought
            if isinstance(part, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(part.weight, 0.5, 1.5)
        return model


class TestContractOfTopK(BirdContract):
    k, objective = 3, staticmethod(parts)

    def make(self):
        return topk(whole=(96, 128))


class TestContractOfTopKWithAttention(BirdContract):
    k, objective = 3, staticmethod(parts)

    def make(self):
        return MODELS["concat, attention"](whole=(96, 128))


class TestContractOfNTSNet(BirdContract):
    k, objective = 2, staticmethod(ranked_parts)

    def make(self):
        return net(k=2, proposals=2, whole=(96, 128))

    def make_learner(self):
        model = super().make_learner()
        model.proposals = N  # the scorer learns from the windows it ranks alone: here, from all
        return model


def test_the_windows_are_not_stored_with_the_weights():
    assert not any(name.startswith("anchors") for name in topk().state_dict())


@EACH
def test_a_prediction_holds_three_answers_and_where_they_were_found(make):
    model = make().train()
    with torch.no_grad():
        prediction = model(torch.rand(2, 3, 100, 120))
    assert prediction.logits.shape == (2, 4)
    assert prediction.whole_logits.shape == (2, 4)
    assert prediction.part_logits.shape == (2, 3, 4)
    assert prediction.scores.shape == (2, N)
    assert prediction.windows.shape == (N, 4)
    assert prediction.selection.weights.shape[:2] == (2, 3)
    assert prediction.patches.shape == (2, 3, 3, 32, 32)


@EACH
def test_the_scorer_does_not_change_the_encoder(make):
    model = make().train()
    model(torch.rand(2, 3, 80, 80)).scores.square().sum().backward()
    assert all(weight.grad is None for weight in model.encoder.parameters())
    assert any(weight.grad is not None for weight in model.scorer.parameters())


def test_the_scorer_of_topk_learns_from_the_pixels_of_the_parts_alone():
    model = topk().train()
    images, labels = torch.rand(2, 3, 80, 80), torch.tensor([0, 1])
    prediction = model(images)
    cross_entropy(prediction.whole_logits, labels).backward(retain_graph=True)
    assert all(weight.grad is None for weight in model.scorer.parameters())
    cross_entropy(prediction.part_logits[:, 0], labels).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.scorer.parameters())


def test_the_scorer_of_nts_net_learns_from_the_ranking_alone():
    model = net().train()
    images, labels = torch.rand(2, 3, 80, 80), torch.tensor([0, 1])
    prediction = model(images)
    assert not prediction.patches.requires_grad
    for logits in (prediction.logits, prediction.whole_logits, prediction.part_logits[:, 0]):
        cross_entropy(logits, labels).backward(retain_graph=True)
    assert all(weight.grad is None for weight in model.scorer.parameters())
    ranked_parts(prediction, labels).backward()
    assert any(weight.grad.abs().sum() > 0 for weight in model.scorer.parameters())


@EACH
def test_dropout_is_for_training_alone(make):
    model, images = make(dropout=0.9), torch.rand(2, 3, 80, 80)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
            part.track_running_stats = False
    with torch.inference_mode():
        trained = [model.train()(images).whole_logits for _ in range(2)]
        judged = [model.eval()(images).whole_logits for _ in range(2)]
    assert not torch.equal(*trained)
    assert torch.equal(*judged)


def test_dropout_in_evaluation_is_a_mask_on_whole_and_parts_where_it_is_told_to():
    model, images, seen = topk().eval(), torch.rand(2, 3, 80, 80), {}
    for name in ("whole_head", "part_head"):
        head = getattr(model, name)
        head.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0]}))
    with torch.inference_mode():
        model(images)
        dropped = topk(dropout_in_evaluation=True).eval()(images)
        again = topk(dropout_in_evaluation=True).eval()(images)
    masks = [
        2.0 * (torch.rand(*size, generator=torch.Generator().manual_seed(seed)) >= 0.5)
        for seed, size in enumerate(((seen["whole_head"].shape[1],), seen["part_head"].shape[1:]))
    ]
    whole, parts = seen["whole_head"] * masks[0], seen["part_head"] * masks[1]
    torch.testing.assert_close(dropped.whole_logits, model.whole_head(whole))
    torch.testing.assert_close(dropped.part_logits, model.part_head(parts))
    torch.testing.assert_close(dropped.logits, model.head(parts.mean(dim=1) + whole))
    assert torch.equal(dropped.logits, again.logits)


def test_nts_net_answers_from_its_best_distinct_windows():
    model, images = net().eval(), torch.rand(2, 3, 80, 80)
    judged = model(images)
    best = windows.nms(model.anchors, judged.scores, 3)
    assert torch.equal(judged.selection.candidates, best[:, :2])
    model.train()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.Dropout):
            part.eval()
    trained = model(images)
    assert torch.equal(trained.selection.candidates, best)
    torch.testing.assert_close(trained.logits, judged.logits, rtol=1e-4, atol=1e-5)


def test_the_published_sizes_give_1614_windows():
    scorer = AnchorScorer(8, exchange=Attention(width=128))
    assert scorer(torch.rand(1, 8, 14, 14)).shape == (1, 1614)
    assert len(anchors((448, 448))) == 1614


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (70, 33)])
def test_a_score_belongs_to_the_window_of_its_place(size):
    # the maps of the scorer are told apart by their biases, and a lit cell by its place
    scorer = AnchorScorer(1, width=1)
    with torch.no_grad():
        for weight in scorer.parameters():
            weight.zero_()
        for down in scorer.down:
            down.weight[..., 1, 1] = 1  # passes on the cell in the middle
        for score in scorer.score:
            score.weight.fill_(1)
    rows, columns = -(-size[0] // 32), -(-size[1] // 32)
    where = windows.centres(anchors(size))
    for cell in range(rows * columns):
        features = torch.zeros(1, 1, rows, columns)
        features.view(-1)[cell] = 1
        lit = scorer(features)[0] > 0
        point = torch.tensor([cell // columns, cell % columns]) * 32 + 16.0
        assert lit.sum() >= 6
        # a cell of a coarser map lies on the even cells of the finer one: up to 48 px away
        assert ((where[lit] - point).abs() <= torch.tensor(48.5)).all()
        assert ((where[lit][:6] - point).abs() <= 0.5).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(topk, k=40), "k=40 for 39 windows"),
        (partial(net, k=4, proposals=3), "k=4, proposals=3"),
        (partial(net, proposals=40), "k=40 for 39 windows"),
        (partial(topk, encoder=Backbone("test_resnet", stage=3)), "32 px apart.*got 16"),
        (partial(topk, size=(96, 64)), r"\(96, 64\) px of \(80, 80\)"),
    ],
)
def test_impossible_settings_are_refused_with_their_numbers(make, words):
    with pytest.raises(ValueError, match=words):
        make()
