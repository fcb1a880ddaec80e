import math

import pytest
import torch
from torch import nn

from foveal.errors import UserError
from foveal.nn import aggregators, encoders, scorers
from foveal.nn.backbones import standardise
from foveal.nn.layers import LastingDropout
from foveal.topk import Selection, hard, perturbed
from miniatures_weights import save_backbone


@pytest.mark.parametrize("pool", [8, 4])
def test_the_convolutional_scorer_has_the_papers_size_and_grid(pool):
    scorer = scorers.ConvScorer(pool=pool)
    assert sum(p.numel() for p in scorer.parameters()) == 6321
    assert scorer(torch.rand(2, 3, 250, 320)).shape == (2, (250 - 8) // pool, (320 - 8) // pool)


def test_an_untrained_convolutional_scorer_answers_to_contrast_and_not_to_brightness():
    scorer = scorers.ConvScorer(pool=4).double()
    dark, light = (torch.full((1, 3, 40, 40), value, dtype=torch.float64) for value in (0.1, 0.9))
    torch.testing.assert_close(scorer(dark), scorer(light))
    light[..., 20, 20] = 0.1
    assert (scorer(light) - scorer(dark)).abs().max() > 1e-3


def test_excitation_scales_channels_by_what_all_of_the_view_holds():
    torch.manual_seed(0)
    scorer = scorers.ConvScorer(pool=4, excitation=True).double()
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


def test_entropy_is_log_n_for_equal_scores_and_nought_for_a_ruler():
    assert scorers.entropy(torch.zeros(1, 8)).item() == pytest.approx(math.log(8))
    assert scorers.entropy(torch.tensor([[100.0, 0, 0]])).item() == pytest.approx(0, abs=1e-6)


def test_the_thin_network_has_the_sizes_of_attention_sampling():
    encoder = encoders.ThinResNet()
    assert 59_000 < sum(p.numel() for p in encoder.parameters()) < 61_000
    inner = encoder.blocks(encoder.stem(torch.rand(1, 3, 100, 100)))
    assert inner.shape == (1, 32, 13, 13)
    assert encoder(torch.rand(5, 3, 40, 56)).shape == (5, 32)


def test_the_networks_for_digits_have_the_sizes_of_attention_sampling():
    encoder, scorer = encoders.ShallowNet(), scorers.TanhScorer()
    assert sum(p.numel() for p in encoder.parameters()) == 50 * 32 + 3 * (9 * 32 + 1) * 32
    assert encoder.layers(torch.rand(1, 1, 50, 50)).shape == (1, 32, 38, 38)
    assert encoder(torch.rand(5, 1, 50, 50)).shape == (5, encoder.features)
    assert scorer(torch.rand(2, 1, 18, 20)).shape == (2, 18, 20)


def test_all_patches_of_all_images_are_encoded_as_each_is_alone():
    encoder, patches = encoders.ThinResNet(width=8).eval(), torch.rand(2, 3, 3, 20, 20)
    features = encoders.encode(encoder, patches)
    alone = [encoder(patches[b, k][None]) for b in range(2) for k in range(3)]
    torch.testing.assert_close(features.flatten(0, 1), torch.cat(alone))


def test_the_thin_network_pools_as_it_is_told():
    patches = torch.rand(2, 3, 32, 32)
    average = encoders.ThinResNet(width=8).eval()
    largest = encoders.ThinResNet(width=8, pool="amax").eval()
    largest.load_state_dict(average.state_dict())
    assert (largest(patches) >= average(patches)).all()
    assert (largest(patches) > average(patches)).any()


def test_the_network_of_what_and_where_says_how_strong_and_at_which_place():
    encoder = encoders.WhatAndWhere(1, widths=(1,)).double().eval()
    encoder.layers[0].weight.data.zero_()
    encoder.layers[0].weight.data[0, 0, 2, 2] = 1  # the map is every second pixel, once normalised
    patches = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    patches[:, 0, 8, 2] = torch.tensor([3.0, 1000.0])
    strength, y, x = encoder(patches).T
    norm = (1 + encoder.layers[1].eps) ** 0.5
    torch.testing.assert_close(strength, torch.tensor([3.0, 1000.0]).double() / norm)
    # 25 places; all share alike but the one, which stands in the last row and the second column
    share = torch.exp(strength) / (torch.exp(strength) + 24)
    share[1] = 1.0
    middle = (1 - share) / 24  # of each other place: together they pull the mean to the centre
    torch.testing.assert_close(y, share - middle)
    torch.testing.assert_close(x, (share - middle) * -0.5)


def test_equal_filters_may_follow_each_other_and_keep_the_map():
    encoder = encoders.WhatAndWhere(widths=(4, 8, 8, 16))
    assert encoder.layers(torch.rand(2, 3, 36, 44)).shape == (2, 16, 5, 6)
    assert encoder(torch.rand(2, 3, 36, 44)).shape == (2, encoder.features)


def test_any_timm_network_encodes_and_says_its_features():
    encoder = encoders.Backbone("mobilenetv3_small_050", stage=2)
    assert encoder(torch.rand(2, 3, 64, 64)).shape == (2, encoder.features)


def test_an_unknown_network_is_named_with_close_ones():
    with pytest.raises(UserError, match=r"did you mean: .*resnet"):
        encoders.Backbone("resnet17")


def test_a_missing_stage_is_named():
    with pytest.raises(UserError, match="no feature map 9"):
        encoders.Backbone("resnet18", stage=9)


def test_a_bare_stem_is_a_convolution_and_a_slow_batch_norm_without_relu():
    torch.manual_seed(0)
    encoder = encoders.Backbone("resnet18", stage=1, bare_stem=True).double()
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
        encoders.Backbone(name, bare_stem=True)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_from_a_file_are_the_networks(tmp_path, suffix):
    path, state = save_backbone(tmp_path / f"w{suffix}", stage=1)
    encoder = encoders.Backbone("resnet18", stage=1, weights=path)
    for key, value in encoder.network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_weights_that_do_not_reach_the_stage_are_refused(tmp_path):
    path, _ = save_backbone(tmp_path / "w.pt", stage=1)
    with pytest.raises(UserError, match=r"lack .* choose an earlier stage"):
        encoders.Backbone("resnet18", stage=3, weights=path)


def test_weights_that_are_not_there_or_not_weights_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        encoders.Backbone("resnet18", stage=1, weights=tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="cannot read weights") as caught:
        encoders.Backbone("resnet18", stage=1, weights=tmp_path / "text.pt")
    assert "\n" not in str(caught.value)


def test_a_frozen_scorer_keeps_its_network_and_trains_its_score():
    scorer = scorers.BackboneScorer(stage=1, frozen=True).train()
    before = {k: v.clone() for k, v in scorer.network.state_dict().items()}
    scorer(torch.rand(2, 3, 64, 64)).sum().backward()
    assert scorer.score.weight.grad is not None
    assert all(p.grad is None for p in scorer.network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in scorer.network.state_dict().items())


def looked(k=4, n=30, batch=3, features=8):
    scores = torch.rand(batch, n)
    return torch.rand(batch, k, features), hard(scores, k), torch.rand(n, 2)


def test_mean_max_and_concat_are_what_they_say():
    features, selection, centres = looked()
    torch.testing.assert_close(
        aggregators.mean(features, selection, centres), features.sum(dim=1) / 4
    )
    assert torch.equal(aggregators.max(features, selection, centres), features.max(dim=1).values)
    assert (
        aggregators.concat(features, selection, centres).tolist() == features.view(3, -1).tolist()
    )


@pytest.mark.parametrize(
    "position", [lambda: aggregators.FourierPosition(8), lambda: aggregators.TablePosition(30, 8)]
)
def test_the_transformer_does_not_mind_the_order_of_its_patches(position):
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4, position=position()).eval()
    turned = Selection(selection.candidates, selection.weights.flip(1))
    torch.testing.assert_close(
        model(features.flip(1), turned, centres), model(features, selection, centres)
    )


@pytest.mark.parametrize(
    "position", [lambda: aggregators.FourierPosition(8), lambda: aggregators.TablePosition(30, 8)]
)
def test_the_transformer_minds_where_its_patches_were(position):
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4, position=position()).eval()
    elsewhere = Selection((selection.candidates + 7) % 30, selection.weights)
    assert not torch.allclose(
        model(features, elsewhere, centres), model(features, selection, centres), atol=1e-4
    )


def test_a_position_from_the_table_is_a_dense_layer_on_the_weights_of_a_slot():
    torch.manual_seed(0)
    selection = perturbed(torch.rand(3, 30, dtype=torch.float64), 4, 0.1)
    position = aggregators.TablePosition(30, 8).double()
    dense = nn.Linear(30, 8).double()
    dense.weight.data, dense.bias.data = position.table.data.T, torch.rand(8).double()
    position.bias.data = dense.bias.data
    assert selection.candidates.shape[1] > 4  # soft: slots look at several candidates
    torch.testing.assert_close(position(selection, torch.rand(30, 2)), dense(selection.dense(30)))


def test_the_transformer_drops_nothing_in_evaluation_and_not_inside_its_layers_parts():
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4).eval()
    first = model(features, selection, centres)
    assert torch.equal(first, model(features, selection, centres))
    for layer in model.layers.layers:
        assert layer.self_attn.dropout == layer.dropout.p == 0  # attention; hidden layer
        assert layer.dropout1.p == layer.dropout2.p == 0.1  # what they add


@pytest.mark.parametrize("inference", [True, False])
def test_the_transformer_drops_in_evaluation_where_it_is_told_to(inference):
    features, selection, centres = looked()
    model = aggregators.Transformer(
        8, width=16, num_layers=2, heads=4, dropout=0.5, dropout_in_evaluation=True
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


def test_the_transformer_pools_as_it_is_told():
    features, selection, centres = looked(k=1)
    summed = aggregators.Transformer(8, width=16, num_layers=1, heads=4, norm_first=True).eval()
    largest = aggregators.Transformer(
        8, width=16, num_layers=1, heads=4, norm_first=True, pool="amax"
    ).eval()
    largest.load_state_dict(summed.state_dict())
    # of one patch, the sum and the maximum are the patch itself; of four they differ
    assert torch.equal(summed(features, selection, centres), largest(features, selection, centres))
    features, selection, centres = looked(k=4)
    assert not torch.allclose(
        summed(features, selection, centres), largest(features, selection, centres)
    )
