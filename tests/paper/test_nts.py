"""Contracts of the two models that know birds by their parts, on a small network."""

from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from foveal import windows
from foveal.images import FileImage, TensorImage
from foveal.nn.encoders import Backbone
from foveal.nn.selectors import TopK
from foveal.paper.models.nts_net import NTSNet
from foveal.paper.models.nts_topk import NTSTopK, concat, mean
from foveal.paper.nn.anchors import anchors
from foveal.paper.nn.pyramid import AnchorScorer, Attention, SqueezeExcitation
from foveal.paper.objectives import parts, ranked_parts

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


def objective(model):
    return ranked_parts if isinstance(model, NTSNet) else parts


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
def test_every_parameter_learns_from_image_labels(make):
    model = make().train()
    if isinstance(model, NTSNet):
        model.proposals = N  # the scorer learns from the windows it ranks alone: here, from all
    for part in model.encoder.modules():  # as if trained: at first, residual branches count nothing
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
    labels = torch.tensor([0, 1, 2])
    objective(model)(model(torch.rand(3, 3, 90, 90)), labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


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
def test_an_answer_does_not_depend_on_the_batch_and_repeats_itself(make):
    model = make().train()
    images = torch.randint(0, 256, (3, 3, 100, 120), dtype=torch.uint8)
    with torch.inference_mode():
        model(images / 255)  # statistics of the batch norms that are not their first
        model.eval()
        together, again = model(images), model(images)
        alone = [model(image[None]) for image in images]
    for name in ("logits", "whole_logits", "part_logits"):
        assert torch.equal(getattr(together, name), getattr(again, name))
        # convolutions over another number of images may add in another order
        one_by_one = torch.cat([getattr(each, name) for each in alone])
        torch.testing.assert_close(one_by_one, getattr(together, name), rtol=1e-4, atol=1e-5)
    numbers = torch.cat([each.selection.candidates for each in alone])
    assert torch.equal(numbers, together.selection.candidates)


@EACH
def test_images_of_differing_sizes_answer_as_they_do_alone(make, tmp_path):
    from PIL import Image as Pillow

    model = make().eval()
    pixels = torch.randint(0, 256, (3, 70, 90), dtype=torch.uint8)
    Pillow.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "bird.png")
    images = [FileImage(tmp_path / "bird.png"), TensorImage(torch.rand(3, 100, 60))]
    with torch.inference_mode():
        together = model(images)
        assert together.windows.shape == (2, N, 4)
        for b, image in enumerate([TensorImage(pixels), images[1]]):
            alone = model([image])
            torch.testing.assert_close(together.logits[b], alone.logits[0], rtol=1e-4, atol=1e-5)
            assert torch.equal(together.windows[b], alone.windows)


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


@EACH
def test_weights_can_be_saved_and_loaded(make):
    one, other = make(), make()
    for weight in other.parameters():
        weight.data.add_(0.1)
    images = torch.rand(1, 3, 80, 80)
    other.load_state_dict(one.state_dict())
    with torch.inference_mode():
        assert torch.equal(one.eval()(images).logits, other.eval()(images).logits)
    assert not any(name.startswith("anchors") for name in one.state_dict())


def test_windows_are_in_pixels_of_the_image_and_patches_are_cut_there():
    # an image as large as the whole: its middle is seen, and a patch is a window of it, resampled
    model = topk().eval()
    image = torch.rand(3, 80, 80)
    prediction = model(image[None])
    expected = anchors((64, 64)) + 8
    assert torch.equal(prediction.windows, expected)
    seen = torch.zeros(3, 80, 80)
    seen[:, 8:72, 8:72] = image[:, 8:72, 8:72]  # what overhangs the middle is black
    for slot, number in enumerate(prediction.selection.candidates[0]):
        patch = TensorImage(seen).crops(expected[number][None], (32, 32))[0]
        torch.testing.assert_close(prediction.patches[0, slot], patch, rtol=0, atol=1e-6)


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
