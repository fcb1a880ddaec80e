"""Laws of the model that samples from its attention."""

import pytest
import torch
from torch import Tensor, nn

from foveal.models import AttentionSampling
from foveal.nn import encoders, scorers, selectors
from foveal.paper.nn.encoders import ShallowNet
from foveal.paper.nn.scorers import TanhScorer
from foveal.topk.sampling import attention
from foveal.windows import coordinates
from model_contract import ModelContract


def model(*, k=3, view=(40, 40), coordinates=False, scorer=None, **select):
    torch.manual_seed(0)
    return AttentionSampling(
        scorer=scorer or scorers.ConvScorer(pool=4),
        select=selectors.Sampling(k, **select),
        encoder=encoders.ThinResNet(5 if coordinates else 3, width=8),
        classes=4,
        view=view,
        patch=(24, 24),
        coordinates=coordinates,
    )


class TestContract(ModelContract):
    k, n, patch = 3, 8 * 8, (24, 24)

    def make(self) -> nn.Module:
        return model(coordinates=True)


class TestContractWithReplacement(ModelContract):
    k, n, patch = 3, 8 * 8, (24, 24)

    def make(self) -> nn.Module:
        return model(replacement=True)


def test_without_a_seed_the_candidates_of_highest_attention_are_taken_in_order():
    prediction = model(seed=None).eval()(torch.rand(2, 3, 120, 120))
    order = prediction.scores.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(prediction.selection.candidates, order[:, :3])


def test_training_looks_elsewhere_every_time():
    net, images = model().train(), torch.rand(4, 3, 120, 120)
    looks = [net(images).selection.candidates for _ in range(2)]
    assert not torch.equal(*looks)


def test_windows_centred_outside_the_image_have_no_attention():
    net = model(k=20).train()
    wide = torch.rand(3, 60, 120)  # fills the upper half of the view
    for _ in range(5):
        prediction = net([wide, torch.rand(3, 120, 120)])
        chosen = prediction.windows[0][prediction.selection.candidates[0]]
        middles = (chosen[:, :2] + chosen[:, 2:]) / 2
        assert (middles < torch.tensor([60, 120])).all()
        assert len(set(prediction.selection.candidates[0].tolist())) == 20


def all_windows(net: AttentionSampling, images: Tensor) -> Tensor:
    """The logits of the exact mean over all windows, from the model's own parts, patch by patch."""
    one = net(images)
    shares = attention(one.scores, net.smoothing)
    features = []
    for top, left, bottom, right in one.windows.tolist():
        padded = torch.nn.functional.pad(images, (50, 50, 50, 50))
        patch = padded[:, :, 50 + top : 50 + bottom, 50 + left : 50 + right]
        features.append(torch.nn.functional.normalize(net.encoder(patch), dim=1))
    mean = torch.einsum("bn,bnd->bd", shares, torch.stack(features, dim=1))
    return net.head(mean)


def test_logits_are_on_average_those_of_the_mean_over_all_windows():
    net, images = model(k=6).eval(), torch.rand(1, 3, 60, 60)
    with torch.no_grad():
        exact = all_windows(net, images)
        net.select.train()
        found = net(images.expand(150, -1, -1, -1)).logits
    error = found.std(dim=0) / len(found) ** 0.5
    assert ((found.mean(dim=0) - exact[0]).abs() <= 4 * error).all()


def test_all_windows_drawn_give_nearly_the_mean_over_all_windows():
    net, images = model(k=64, seed=None).eval(), torch.rand(1, 3, 120, 120)
    with torch.no_grad():
        few = model(k=2, seed=None).eval()
        few.load_state_dict(net.state_dict())
        exact = all_windows(net, images)
        assert (net(images).logits - exact).norm() < (few(images).logits - exact).norm() / 2


def test_the_encoder_is_told_where_it_looks_when_asked_to():
    net = model(coordinates=True).eval()
    seen = []
    net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = [torch.rand(3, 120, 120), torch.rand(3, 120, 180)]
    prediction = net(images)
    looks = seen[0].view(2, 3, 5, 24, 24)
    torch.testing.assert_close(looks[:, :, :3], prediction.patches)
    for b, image in enumerate(images):
        size = torch.tensor(image.shape[1:]).float()
        for slot, number in enumerate(prediction.selection.candidates[b].tolist()):
            window = prediction.windows[b, number].float()
            expected = coordinates(window, size, (24, 24))
            torch.testing.assert_close(looks[b, slot, 3:], expected)


def test_a_model_of_one_channel_sees_the_mean_of_three():
    net = AttentionSampling(
        scorer=TanhScorer(),
        select=selectors.Sampling(3),
        encoder=ShallowNet(width=8),
        classes=4,
        view=(20, 20),
        patch=(16, 16),
        channels=1,
    ).eval()
    grey = torch.randint(0, 256, (2, 1, 60, 60), dtype=torch.uint8)
    for one, three in (
        (grey, grey.expand(-1, 3, -1, -1)),
        (grey / 255, (grey / 255).repeat(1, 3, 1, 1)),
    ):
        torch.testing.assert_close(net(three).logits, net(one).logits)
    with pytest.raises(ValueError, match="1 channels: got 2"):
        net(torch.rand(1, 2, 60, 60))


def test_impossible_settings_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="k=65 for 8 x 8 windows"):
        model(k=65)
    with pytest.raises(ValueError, match="too small for the scorer"):
        model(view=(9, 9))
    net = model()
    net.scorer.layers[0].bias.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="scores must be finite"):
        net(torch.rand(1, 3, 60, 60))
