import math

import pytest
import torch

from foveal.errors import UserError
from foveal.nn import aggregators, encoders, scorers
from foveal.paper.nn.aggregators import TablePosition
from foveal.topk import Selection, hard
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


def test_entropy_is_log_n_for_equal_scores_and_nought_for_a_ruler():
    assert scorers.entropy(torch.zeros(1, 8)).item() == pytest.approx(math.log(8))
    assert scorers.entropy(torch.tensor([[100.0, 0, 0]])).item() == pytest.approx(0, abs=1e-6)


def test_the_thin_network_has_the_sizes_of_attention_sampling():
    encoder = encoders.ThinResNet()
    assert 59_000 < sum(p.numel() for p in encoder.parameters()) < 61_000
    inner = encoder.blocks(encoder.stem(torch.rand(1, 3, 100, 100)))
    assert inner.shape == (1, 32, 13, 13)
    assert encoder(torch.rand(5, 3, 40, 56)).shape == (5, 32)


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


def test_any_timm_network_encodes_and_says_its_features():
    encoder = encoders.Backbone("mobilenetv3_small_050", stage=2)
    assert encoder(torch.rand(2, 3, 64, 64)).shape == (2, encoder.features)


def test_an_unknown_network_is_named_with_close_ones():
    with pytest.raises(UserError, match=r"did you mean: .*resnet"):
        encoders.Backbone("resnet17")


def test_a_missing_stage_is_named():
    with pytest.raises(UserError, match="no feature map 9"):
        encoders.Backbone("resnet18", stage=9)


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
    "position", [lambda: aggregators.FourierPosition(8), lambda: TablePosition(30, 8)]
)
def test_the_transformer_does_not_mind_the_order_of_its_patches(position):
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4, position=position()).eval()
    turned = Selection(selection.candidates, selection.weights.flip(1))
    torch.testing.assert_close(
        model(features.flip(1), turned, centres), model(features, selection, centres)
    )


@pytest.mark.parametrize(
    "position", [lambda: aggregators.FourierPosition(8), lambda: TablePosition(30, 8)]
)
def test_the_transformer_minds_where_its_patches_were(position):
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4, position=position()).eval()
    elsewhere = Selection((selection.candidates + 7) % 30, selection.weights)
    assert not torch.allclose(
        model(features, elsewhere, centres), model(features, selection, centres), atol=1e-4
    )


def test_the_transformer_drops_nothing_in_evaluation_and_not_inside_its_layers_parts():
    features, selection, centres = looked()
    model = aggregators.Transformer(8, width=16, num_layers=2, heads=4).eval()
    first = model(features, selection, centres)
    assert torch.equal(first, model(features, selection, centres))
    for layer in model.layers.layers:
        assert layer.self_attn.dropout == layer.dropout.p == 0  # attention; hidden layer
        assert layer.dropout1.p == layer.dropout2.p == 0.1  # what they add


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
