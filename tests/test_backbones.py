"""Laws of timm networks as parts: any family works or is refused in words before training."""

import socket

import pytest
import torch
from torch import nn

from foveal import models
from foveal.errors import UserError
from foveal.models import patch_classifier
from foveal.nn import _hub, encoders, scorers
from foveal.nn.backbones import read_weights, standardise
from miniatures_weights import save_backbone

FAMILIES = [
    "resnet18",
    "test_byobnet",
    "test_efficientnet",
    "mobilenetv3_small_050",
    "test_convnext",
    "swin_tiny_patch4_window7_224",
    "test_vit",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_any_family_encodes_patches_of_a_size_that_is_not_its_own(name: str) -> None:
    encoder = encoders.Backbone(name, stage=1).eval()
    patches = torch.rand(2, 3, 48, 64)
    maps = encoder.maps(patches)
    assert maps.shape[1] == encoder.features
    assert maps.shape[2:] == (48 // encoder.stride, 64 // encoder.stride)
    torch.testing.assert_close(encoder(patches), maps.mean(dim=(2, 3)))
    encoder.pool = "avgmax"
    flat = maps.flatten(2)
    torch.testing.assert_close(encoder(patches), (flat.mean(dim=2) + flat.max(dim=2).values) / 2)


@pytest.mark.parametrize("name", ["test_maxvit", "test_vit_relpos"])
def test_a_network_for_images_of_one_size_is_refused_in_words_when_a_model_is_built(
    name: str,
) -> None:
    settings = {"classes": 2, "view": (96, 96), "patch": 48, "k": 2}
    with pytest.raises(ValueError, match=r"encoder cannot take patches of 48 x 48 px .*: \w+"):
        patch_classifier(name, encoder_stage=1, **settings)
    with pytest.raises(ValueError, match=r"scorer cannot take a view of 96 x 96 px .*: \w+"):
        patch_classifier("thin", scorer=name, scorer_stage=1, **settings)


def test_the_last_stage_is_the_last_of_any_network() -> None:
    for name in ("test_resnet", "test_vit"):
        last = encoders.Backbone(name).network.feature_info.out_indices[-1]
        with pytest.raises(UserError, match=f"no feature map {last + 1}"):
            encoders.Backbone(name, stage=last + 1)


@pytest.mark.parametrize("part", [encoders.Backbone, scorers.BackboneScorer])
def test_pixels_are_standardised_as_the_networks_own_weights_expect(part: type) -> None:
    for name, mean, std in (
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("test_convnext", (0.5,) * 3, (0.5,) * 3),
    ):
        net = part(name, stage=0)
        assert (net.mean, net.std) == (mean, std)
        seen: list[torch.Tensor] = []
        net.network.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        pixels = torch.rand(1, 3, 32, 32)
        net(pixels)
        for c in range(3):
            torch.testing.assert_close(seen[0][:, c], (pixels[:, c] - mean[c]) / std[c])


def test_mean_and_deviation_are_arguments_and_fit_the_channels() -> None:
    given = encoders.Backbone("test_resnet", stage=0, channels=2, mean=(0.1, 0.2), std=(1.0, 2.0))
    assert (given.mean, given.std) == ((0.1, 0.2), (1.0, 2.0))
    assert encoders.Backbone("test_resnet", stage=0, channels=5).mean == (0.45,) * 5
    with pytest.raises(ValueError, match=r"mean must have one value for each of 3 channels"):
        encoders.Backbone("test_resnet", stage=0, mean=(0.1,))
    with pytest.raises(ValueError, match=r"std must be positive"):
        encoders.Backbone("test_resnet", stage=0, std=(0.1, 0.0, 0.1))
    assert standardise(torch.ones(1, 1, 1, 1), (0.5,), (0.25,)).item() == 2


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_read_as_training_scripts_write_them(tmp_path, suffix, prefix) -> None:
    path, state = save_backbone(tmp_path / f"w{suffix}", stage=1)
    stored = {f"{prefix}{key}": value for key, value in read_weights(path).items()}
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": stored}, path)
    else:
        from safetensors.torch import save_file

        save_file(stored, path)
    encoder = encoders.Backbone("resnet18", stage=1, weights=path)
    for key, value in encoder.network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_file_that_is_no_state_dict_is_one_clear_line(tmp_path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "list.pt")


def test_a_missing_file_is_an_error_with_any_encoder(tmp_path) -> None:
    settings = {"classes": 2, "view": (64, 64), "patch": 32, "k": 2}
    for encoder in ("thin", "test_resnet"):
        with pytest.raises(UserError, match="no weights at"):
            patch_classifier(encoder, weights=tmp_path / "none.pt", **settings)


def test_without_a_network_a_download_is_refused_with_the_remedy(monkeypatch, tmp_path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("test_resnet", "mobilenetv3_small_050"):
        with pytest.raises(UserError, match=r"cannot download weights .* give a file") as caught:
            encoders.Backbone(name, pretrained=True)
        assert "\n" not in str(caught.value)


def test_one_line_builds_a_classifier_that_scores_with_the_same_weights(tmp_path) -> None:
    path, state = save_backbone(tmp_path / "w.pt", stage=3)
    settings = {"classes": 4, "view": (96, 80), "patch": 64, "k": 3}
    model = patch_classifier("resnet18", encoder_stage=3, weights=path, **settings).eval()
    assert isinstance(model, models.PatchClassifier)
    assert isinstance(model.scorer, scorers.BackboneScorer)
    for part in (model.scorer, model.encoder):
        for key, value in part.network.state_dict().items():
            assert torch.equal(value, state[key]), key
    assert model(torch.rand(2, 3, 200, 150)).logits.shape == (2, 4)
    plain = patch_classifier("test_resnet", aggregator="transformer", **settings)
    assert isinstance(plain.scorer, scorers.ConvScorer)
    assert isinstance(plain.aggregate, nn.Module)
    assert plain(torch.rand(1, 3, 200, 150)).patches.shape == (1, 3, 3, 64, 64)
    own = patch_classifier("test_resnet", scorer="test_convnext", scorer_stage=0, **settings)
    assert (own.scorer.name, own.scorer.stride) == ("test_convnext", 4)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_aggregator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'sum': choose vote, max, mean, transformer"):
        patch_classifier("thin", aggregator="sum", classes=2, view=(64, 64), patch=32, k=2)


@pytest.mark.parametrize("listens", [True, False])
def test_downloads_fail_at_once_where_nothing_listens(listens: bool, monkeypatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(_hub, "getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        if not listens:
            server.close()
        with _hub.quick_hub():
            assert constants.HF_HUB_OFFLINE is not listens
        assert constants.HF_HUB_OFFLINE is False
