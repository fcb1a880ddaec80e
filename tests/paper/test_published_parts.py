"""Laws of the parts that only the experiments of the paper use."""

import pytest
import torch
from torch import nn

from foveal.errors import UserError
from foveal.nn.backbones import standardise
from foveal.nn.scorers import ConvScorer
from foveal.paper.nn.aggregators import PublishedTransformer, TablePosition
from foveal.paper.nn.dropout import LastingDropout
from foveal.paper.nn.encoders import BareStemResNet, ShallowNet, WhatAndWhere
from foveal.paper.nn.scorers import TanhScorer, excited
from foveal.topk import hard, perturbed


def test_excitation_scales_channels_by_what_all_of_the_view_holds():
    torch.manual_seed(0)
    scorer = excited(ConvScorer(pool=4)).double()
    assert sum(p.numel() for p in scorer.parameters()) == 6321 + 2 * 16 * 1 + 2 * 32 * 2
    squeezed = iter([p for p in scorer.parameters() if p.ndim == 2])
    convolutions = [layer for layer in scorer.layers if isinstance(layer, nn.Conv2d)]
    view = torch.rand(2, 3, 40, 44, dtype=torch.float64)
    seen = view
    for number, layer in enumerate(convolutions[:-1]):
        seen = layer(seen).clamp(min=0)
        if number > 0:
            mean = seen.mean(dim=(2, 3))  # (B, D)
            inner = (mean @ next(squeezed).T).clamp(min=0)
            scale = 1 / (1 + (-inner @ next(squeezed).T).exp())
            seen = torch.einsum("bdhw,bd->bdhw", seen, scale)
    scores = convolutions[-1](seen)[:, 0]
    truth = scores.unfold(1, 4, 4).unfold(2, 4, 4).amax(dim=(3, 4))
    torch.testing.assert_close(scorer(view), truth)


def test_the_networks_for_digits_have_the_sizes_of_attention_sampling():
    encoder, scorer = ShallowNet(), TanhScorer()
    assert sum(p.numel() for p in encoder.parameters()) == 50 * 32 + 3 * (9 * 32 + 1) * 32
    assert encoder.layers(torch.rand(1, 1, 50, 50)).shape == (1, 32, 38, 38)
    assert encoder(torch.rand(5, 1, 50, 50)).shape == (5, encoder.features)
    assert scorer(torch.rand(2, 1, 18, 20)).shape == (2, 18, 20)


def test_the_network_of_what_and_where_says_how_strong_and_at_which_place():
    encoder = WhatAndWhere(1, widths=(1,)).double().eval()
    encoder.layers[0].weight.data.zero_()
    encoder.layers[0].weight.data[0, 0, 2, 2] = 1  # the map is every second pixel, once normalised
    patches = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    patches[:, 0, 8, 2] = torch.tensor([3.0, 1000.0])
    strength, y, x = encoder(patches).T
    norm = (1 + encoder.layers[1].eps) ** 0.5
    torch.testing.assert_close(strength, torch.tensor([3.0, 1000.0]).double() / norm)
    # 25 places of equal weight but one, in the last row and the second column
    share = torch.exp(strength) / (torch.exp(strength) + 24)
    share[1] = 1.0
    middle = (1 - share) / 24  # of each other place: together they pull the mean to the centre
    torch.testing.assert_close(y, share - middle)
    torch.testing.assert_close(x, (share - middle) * -0.5)


def test_equal_filters_may_follow_each_other_and_keep_the_map():
    encoder = WhatAndWhere(widths=(4, 8, 8, 16))
    assert encoder.layers(torch.rand(2, 3, 36, 44)).shape == (2, 16, 5, 6)
    assert encoder(torch.rand(2, 3, 36, 44)).shape == (2, encoder.features)


def test_a_bare_stem_is_a_convolution_and_a_slow_batch_norm_without_relu():
    torch.manual_seed(0)
    encoder = BareStemResNet("resnet18", stage=1).double()
    network, images = encoder.network, torch.rand(4, 3, 32, 32, dtype=torch.float64)
    x = nn.functional.conv2d(
        standardise(images, encoder.mean, encoder.std), network.conv1.weight, None, 2, 3
    )
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
    x = (x - mean[:, None, None]) / (x.var(dim=(0, 2, 3), correction=0) + 1e-5)[
        :, None, None
    ] ** 0.5
    expected = network.layer1(nn.functional.max_pool2d(x, 3, 2, 1))
    torch.testing.assert_close(encoder.maps(images), expected)
    # one step of a running mean that keeps 99 %
    torch.testing.assert_close(network.bn1.running_mean, mean * 0.01)
    torch.testing.assert_close(network.bn1.running_var, variance * 0.01 + 0.99)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050"])
def test_a_network_without_such_a_stem_is_named(name):
    with pytest.raises(UserError, match=rf"'{name}' does not begin with .* choose a ResNet"):
        BareStemResNet(name)


def test_a_position_from_the_table_is_a_dense_layer_on_the_weights_of_a_slot():
    torch.manual_seed(0)
    selection = perturbed(torch.rand(3, 30, dtype=torch.float64), 4, 0.1)
    position = TablePosition(30, 8).double()
    dense = nn.Linear(30, 8).double()
    dense.weight.data, dense.bias.data = position.table.data.T, torch.rand(8).double()
    position.bias.data = dense.bias.data
    assert selection.candidates.shape[1] > 4  # soft: slots look at several candidates
    torch.testing.assert_close(position(selection, torch.rand(30, 2)), dense(selection.dense(30)))


@pytest.mark.parametrize("inference", [True, False])
def test_the_published_transformer_drops_in_evaluation(inference):
    scores, features = torch.rand(3, 30), torch.rand(3, 4, 8)
    selection, centres = hard(scores, 4), torch.rand(30, 2)
    model = PublishedTransformer(
        8, TablePosition(30, 8), width=16, num_layers=2, heads=4, dropout=0.5
    ).eval()
    x = model.project(features + model.position(selection, centres))
    for number, layer in enumerate(model.layers.layers):
        masks = []
        for seed in (2 * number, 2 * number + 1):
            kept = torch.rand(4, 16, generator=torch.Generator().manual_seed(seed)) >= 0.5
            masks.append(2.0 * kept)
        x = layer.norm1(x + masks[0] * layer.self_attn(x, x, x)[0])
        x = layer.norm2(x + masks[1] * layer.linear2(torch.relu(layer.linear1(x))))
    with torch.inference_mode(inference):
        torch.testing.assert_close(model(features, selection, centres), x.sum(dim=1))


def test_lasting_dropout_is_dropout_in_training():
    x = torch.rand(2, 5, 7)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        dropped = LastingDropout(0.3)(x)
        torch.manual_seed(1)
        assert torch.equal(dropped, nn.functional.dropout(x, 0.3))


def test_lasting_dropout_drops_the_same_of_every_image_in_evaluation_and_leaves_chance_alone():
    drop, x = LastingDropout(0.3).eval(), torch.rand(3, 100, 100) + 1
    state = torch.get_rng_state()
    dropped = drop(x)
    assert torch.equal(torch.get_rng_state(), state)
    kept = dropped[0] != 0
    assert torch.equal(dropped, torch.where(kept, x / 0.7, 0))
    assert kept.sum() == pytest.approx(7000, abs=5 * (10_000 * 0.3 * 0.7) ** 0.5)
    assert torch.equal(drop(x[1:2])[0], dropped[1])
    assert not torch.equal(LastingDropout(0.3, seed=1).eval()(x), dropped)
