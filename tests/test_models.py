"""Laws of the patch classifier."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal import windows
from foveal.images import TensorImage
from foveal.models import PatchClassifier
from foveal.models.view_geometry import local_maxima
from foveal.nn import aggregators, encoders, scorers, selectors
from foveal.nn.global_head import GlobalHead
from foveal.objectives import classification
from foveal.paper.nn.grids import cordonnier_grid
from model_contract import ModelContract


def model(
    *,
    k=3,
    aggregate=None,
    view=(40, 40),
    patch=(24, 24),
    place=None,
    pool=4,
    scorer=None,
    encoder=None,
):
    torch.manual_seed(0)
    encoder = encoder or encoders.ThinResNet(width=8)
    own = scorers.ConvScorer(pool=pool)
    return PatchClassifier(
        scorer=scorer or own,
        select=selectors.TopK(k, sigma=0.1),
        encoder=encoder,
        aggregate=aggregate or aggregators.Transformer(8, width=16, num_layers=1, heads=2),
        classes=4,
        view=view,
        patch=patch,
        place=place,
    )


class TestContract(ModelContract):
    k, n, patch = 3, 8 * 8, (24, 24)

    def make(self) -> nn.Module:
        return model()


class TestContractWithTheLargestFeatures(ModelContract):
    k, n, patch = 2, 5 * 6, (20, 28)

    def make(self) -> nn.Module:
        return model(k=2, aggregate=aggregators.max, view=(28, 32), patch=(20, 28))


class Unsteady(nn.Module):
    """A scorer that draws, counts and remembers whenever it is called."""

    stride, offset = 4, 2.0

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, view: Tensor) -> Tensor:
        self.calls += 1
        noisy = self.norm(view) + torch.rand_like(view)
        return nn.functional.avg_pool2d(noisy, 4).mean(dim=1)


def test_a_models_own_weights_and_its_parts_do_not_mind_that_it_was_built():
    quiet, unsteady = scorers.ConvScorer(pool=4), Unsteady()
    before = copy.deepcopy(unsteady.state_dict())
    heads = []
    for scorer in (quiet, unsteady):
        net = model(scorer=scorer, aggregate=aggregators.mean)
        heads.append(net.head.state_dict())
    for key, value in heads[0].items():
        assert torch.equal(value, heads[1][key]), key
    for key, value in unsteady.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert unsteady.training


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_model_is_built_of_parts_of_any_type(dtype):
    net = model(scorer=scorers.ConvScorer(pool=4).to(dtype), aggregate=aggregators.mean)
    assert net.grid == (8, 8)


class Failing(nn.Module):
    stride, offset = 4, 2.0

    def forward(self, view: Tensor) -> Tensor:
        raise RuntimeError("out of luck")


def test_only_a_view_that_is_too_small_is_called_so():
    with pytest.raises(ValueError, match=r"view of 9 x 9 px is too small for the scorer") as small:
        model(view=(9, 9))
    assert isinstance(small.value.__cause__, RuntimeError)
    with pytest.raises(ValueError, match=r"cannot take a view of 40 x 40 px .*: out of luck") as e:
        model(scorer=Failing())
    assert isinstance(e.value.__cause__, RuntimeError)
    with pytest.raises(ValueError, match=r"cannot take .* with 3 channels: .* to have 1 channels"):
        model(scorer=scorers.ConvScorer(1))


@pytest.mark.parametrize("aggregate", [aggregators.mean, aggregators.concat])
def test_the_head_fits_what_the_aggregator_gives(aggregate):
    assert model(aggregate=aggregate)(torch.rand(2, 3, 120, 120)).logits.shape == (2, 4)


def test_an_encoder_that_does_not_fit_is_refused_when_the_model_is_built():
    with pytest.raises(ValueError, match=r"encoder cannot take patches of 24 x 24 px with 3"):
        model(encoder=encoders.ThinResNet(1, width=8))
    wrong = encoders.ThinResNet(width=8)
    wrong.features = 9
    with pytest.raises(ValueError, match=r"must give \(B, 9\) features: got \(1, 8\)"):
        model(encoder=wrong)


def test_windows_centred_outside_the_image_are_never_chosen():
    net = model(k=9).eval()
    for size in ((60, 180), (180, 60), (120, 110)):
        prediction = net([torch.rand(3, *size)])
        chosen = windows.centres(prediction.windows[prediction.selection.candidates[0]])
        assert (chosen < torch.tensor(size)).all()
        assert (chosen > 0).all()


def test_a_window_is_cut_where_its_score_was_made():
    # a bright spot raises the score of one cell; the patch of that cell shows the spot in its
    # middle
    net = model(k=1, view=(44, 44), patch=(24, 24), pool=4).eval()
    for parameter in net.scorer.parameters():
        parameter.data.abs_()
    for at in ((60, 60), (30, 84), (96, 36)):
        image = torch.zeros(3, 132, 132)  # three times the view
        image[:, at[0] - 3 : at[0] + 3, at[1] - 3 : at[1] + 3] = 1
        patch = net([image]).patches[0, 0]
        lit = (patch[0] > 0.5).nonzero().float().mean(dim=0) + 0.5
        # the maximum over 4 x 4 pixels of the view hides 2 of them each way, 6 px of the image,
        # and the receptive field of the cell counts the spot anywhere inside it as equal
        assert ((lit - 12).abs() <= 9).all()


def test_the_papers_grid_can_be_had():
    net = model(place=cordonnier_grid).eval()
    prediction = net(torch.rand(1, 3, 120, 120))
    assert torch.equal(prediction.windows, cordonnier_grid((120, 120), net.grid, (24, 24)))


def test_impossible_settings_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="k=65 for 8 x 8 windows"):
        model(k=65)
    with pytest.raises(ValueError, match="fewer than k=9"):
        model(k=9)([torch.rand(3, 4, 400)])


def test_a_global_head_adds_what_the_whole_view_says_to_the_answer():
    scorer = scorers.BackboneScorer("test_resnet", stage=1)
    parts = {
        "scorer": scorer,
        "select": selectors.TopK(2),
        "encoder": encoders.ThinResNet(3, width=8),
        "aggregate": aggregators.max,
        "classes": 3,
        "view": (48, 48),
        "patch": (24, 24),
    }
    global_head = GlobalHead(scorer.depth, classes=3)
    with_head = PatchClassifier(**parts, global_head=global_head).eval()
    images = torch.rand(2, 3, 96, 96)
    looks = with_head(images).logits
    nn.init.normal_(global_head.linear.weight)
    views = with_head.geometry.views([TensorImage(image) for image in images], images.device)
    said = global_head(scorer.features(views))
    torch.testing.assert_close(with_head(images).logits, looks + said)
    with pytest.raises(ValueError, match="a global head needs the features of a BackboneScorer"):
        PatchClassifier(**parts | {"scorer": scorers.ConvScorer()}, global_head=global_head)


def test_the_entropy_reward_lowers_the_loss_of_an_undecided_scorer():
    net = model().eval()
    prediction, labels = net(torch.rand(2, 3, 120, 120)), torch.tensor([0, 1])
    plain = classification(prediction, labels, entropy=0.0)
    assert classification(prediction, labels, entropy=0.1) < plain


def test_class_weights_count_the_errors_of_a_class():
    net = model().eval()
    prediction, labels = net(torch.rand(2, 3, 120, 120)), torch.tensor([0, 1])
    first = classification(
        prediction, labels, entropy=0.0, class_weights=torch.tensor([1.0, 0.0, 1.0, 1.0])
    )
    expected = torch.nn.functional.cross_entropy(prediction.logits[:1], labels[:1])
    torch.testing.assert_close(first, expected)


@given(seed=st.integers(0, 999), radius=st.integers(0, 3))
def test_peaks_apart_are_those_that_no_better_cell_is_near_to(seed: int, radius: int) -> None:
    scores = torch.rand(2, 5 * 7, generator=torch.Generator().manual_seed(seed))
    peaks = local_maxima(scores, (5, 7), radius)
    for b in range(2):
        for cell in range(35):
            row, column = divmod(cell, 7)
            near = [
                float(scores[b, r * 7 + c])
                for r in range(max(row - radius, 0), min(row + radius + 1, 5))
                for c in range(max(column - radius, 0), min(column + radius + 1, 7))
            ]
            best = float(scores[b, cell]) >= max(near)
            assert float(peaks[b, cell]) == float(scores[b, cell] if best else scores[b].min())
