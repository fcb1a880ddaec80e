"""Windows that hold nothing are never selected: no data in a GeoTIFF, background of a slide."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch import Tensor

import foveal
import miniatures
from foveal.cli.main import main
from foveal.data.kept_images import KeptImages
from foveal.data.loader import pixels
from foveal.images import FileImage, Image, TensorImage, files, nodata_of, read, sources
from foveal.images.augmented import AugmentedImage
from foveal.images.conversion import as_image
from foveal.models import PatchClassifier
from foveal.models.empty_windows import empty_windows
from foveal.nn import aggregators
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import ConvScorer
from foveal.nn.selectors import TopK
from foveal.settings import Mask
from test_lazy_files import written
from tiff_files import (
    DEFLATE,
    PALETTE,
    READABLE,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    jpeg,
    layout,
    tiff,
)

GDAL_NODATA = 42113
OPTIONS = ["--encoder", "thin", "--view", "64", "64", "--patch", "16", "--k", "2"]


def model(mask: Mask, *, apart: int = 0, k: int = 6, channels: int = 3) -> PatchClassifier:
    torch.manual_seed(0)
    return PatchClassifier(
        scorer=ConvScorer(channels, pool=4),
        select=TopK(k, sigma=0.1),
        encoder=ThinResNet(channels, width=8),
        aggregate=aggregators.max,
        classes=3,
        view=(48, 64),
        patch=(16, 16),
        channels=channels,
        mask=mask,
        apart=apart,
    ).eval()


def with_hole(height: int, width: int, seed: int, colour: int) -> tuple[Tensor, Tensor]:
    """Random pixels with a part of one colour, a corner or a side, and where it is."""
    generator = np.random.default_rng(seed)
    picture, hole = miniatures.pixels(height, width, seed=seed), torch.zeros(height, width).bool()
    picture = picture.clamp(30, 200)  # no background
    top, left = generator.integers(-height // 2, height // 2), generator.integers(-9, width // 2)
    hole[max(top, 0) : top + height // 2 + 9, max(left, 0) : left + width // 2 + 9] = True
    picture[:, hole] = colour
    return picture, hole


def geotiff(path: Path, picture: Tensor, nodata: str, **options: Any) -> FileImage:
    kind = Layout(tile=16, compression=DEFLATE, tags={GDAL_NODATA: nodata}, **options)
    return FileImage(written(path, tiff(picture.permute(1, 2, 0).numpy(), kind)))


def chosen(net: PatchClassifier, image: Image) -> list[list[int]]:
    prediction = net([image])
    return prediction.windows[prediction.selection.candidates[0]].tolist()


def is_nothing(hole: Tensor, window: list[int]) -> bool:
    """Whether a window lies in the hole, and not at its edge, which a view blurs."""
    edge = 2 * math.ceil(max(hole.shape[0] / 48, hole.shape[1] / 64))  # two pixels of the view
    top, left, bottom, right = window
    around = hole[max(top - edge, 0) : bottom + edge, max(left - edge, 0) : right + edge]
    return bool(around.all())


# what a file states


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("big_endian", [False, True])
def test_the_colour_of_no_data_is_how_such_pixels_are_read(
    tmp_path: Path, tile: int, big_endian: bool
) -> None:
    for colour, bits, extra in READABLE:
        if (colour, bits, big_endian) == (WHITE_IS_ZERO, 16, True):
            continue
        for value in {0, 1, (1 << bits) - 1, (1 << bits) // 3}:
            tags = {GDAL_NODATA: str(value)}
            kind = layout(colour, bits, extra, tile=tile, big_endian=big_endian, tags=tags)
            values = np.full((9, 20, kind.samples), value, kind.dtype)
            values[..., kind.samples - len(extra) :] = (1 << bits) - 1  # opaque
            path = written(tmp_path / "a.tif", tiff(values, kind))
            shown = tuple((read(path)[:, 0, 0] / 255).tolist())
            assert FileImage(path).nodata() == shown, (colour, bits, extra, value)
            with Pillow.open(path) as picture:
                assert colour == PALETTE or nodata_of(as_image(picture)) == shown


@pytest.mark.parametrize("stated", ["256", "-9999", "nan", "7.5", "-3.4e38", "1e400", "none", " "])
def test_a_number_that_no_pixel_can_have_states_nothing(tmp_path: Path, stated: str) -> None:
    assert geotiff(tmp_path / "a.tif", miniatures.pixels(20, 20), stated).nodata() is None


def test_other_files_state_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        path = miniatures.write(tmp_path / name, miniatures.pixels(20, 20))
        assert FileImage(path).nodata() is None
        assert isinstance(pixels(FileImage(path)), Tensor)


def test_jpeg_tiles_state_colours_as_they_look(tmp_path: Path) -> None:
    kind = Layout(YCBCR, compression=7, tile=16, encode=jpeg("RGB"), tags={GDAL_NODATA: "255"})
    values = np.full((32, 32, 3), 255, np.uint8)
    image = FileImage(written(tmp_path / "a.tif", tiff(values, kind)))
    assert image.nodata() == (1.0, 1.0, 1.0)


# which windows are empty


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    factor=st.sampled_from([1.0, 1.7, 5.0]),
    seed=st.integers(0, 999),
    mask=st.sampled_from(["nodata", "background"]),
)
def test_a_window_is_empty_if_the_view_shows_nothing_in_any_pixel_under_it(
    height: int, width: int, factor: float, seed: int, mask: Mask
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([0.5, 0.95, 0.02, 0.3])  # no data, light, dark, something
    kinds = torch.randint(0, 4, (height, width), generator=generator)
    kinds[torch.rand(height, width, generator=generator) < 0.6] = int(kinds[0, 0])
    size = (math.ceil(height * factor), math.ceil(width * factor))
    corner = torch.stack([torch.randint(0, s, (20,), generator=generator) for s in size], dim=1)
    side = torch.randint(1, 9, (20, 2), generator=generator)
    windows = torch.cat((corner, corner + side), dim=1)
    image = TensorImage(torch.zeros(1, *size), (0.5,))
    found = empty_windows([image], values[kinds][None, None], [(height, width)], windows, mask)
    nothing = (0,) if mask == "nodata" else (0, 1, 2)
    for window, is_empty in zip(windows.tolist(), found[0].tolist(), strict=True):
        under = [
            int(kinds[row, column])
            for row in range(height)
            for column in range(width)
            if row < window[2] * height / size[0]
            and row + 1 > window[0] * height / size[0]
            and column < window[3] * width / size[1]
            and column + 1 > window[1] * width / size[1]
        ]
        assert is_empty == all(kind in nothing for kind in under)


# what the model does with them


@settings(max_examples=15, deadline=None)
@given(
    size=st.sampled_from([(96, 128), (120, 90), (150, 310)]),
    seed=st.integers(0, 99),
    apart=st.sampled_from([0, 2]),
    colour=st.sampled_from([0, 255, 120]),
    mask=st.sampled_from(["nodata", "background"]),
)
def test_no_window_without_data_is_selected(
    size: tuple[int, int], seed: int, apart: int, colour: int, mask: Mask
) -> None:
    picture, hole = with_hole(*size, seed, colour)
    image = TensorImage(picture, (colour / 255,) * 3)
    for window in chosen(model(mask, apart=apart), image):
        assert not is_nothing(hole, window)


@pytest.mark.parametrize("colour", [5, 240])
def test_plain_background_is_selected_unless_it_is_masked(colour: int) -> None:
    held = miniatures.pixels(96, 128).clamp(30, 200)
    held[:, :, 20:] = colour  # the rest is glass, or black
    everywhere = model("nodata", apart=2)
    for parameter in everywhere.scorer.parameters():
        torch.nn.init.zeros_(parameter)  # no window is better than another
    masked = model("background", apart=2)
    masked.load_state_dict(everywhere.state_dict())
    hole = torch.zeros(96, 128).bool()
    hole[:, 20:] = True
    assert any(is_nothing(hole, window) for window in chosen(everywhere, TensorImage(held)))
    assert not any(is_nothing(hole, window) for window in chosen(masked, TensorImage(held)))


@pytest.mark.parametrize("mode", [True, False])
def test_where_nothing_is_stated_the_mask_changes_no_number(mode: bool) -> None:
    images = [miniatures.pixels(96, 128, seed=1), miniatures.pixels(60, 160, seed=2)]
    images[0][:, :50] = 0
    found = [model(mask).train(mode)(images) for mask in ("none", "nodata")]
    assert torch.equal(found[0].logits, found[1].logits)
    assert torch.equal(found[0].scores, found[1].scores)


@pytest.mark.parametrize("mask", ["nodata", "background"])
@pytest.mark.parametrize("mode", [True, False])
def test_an_image_that_holds_nothing_is_predicted_as_without_a_mask(mask: Mask, mode: bool) -> None:
    nothing = TensorImage(torch.zeros(3, 96, 128, dtype=torch.uint8), (0.0, 0.0, 0.0))
    something = TensorImage(miniatures.pixels(96, 128))
    found, expected = (model(m).train(mode)([nothing, something]) for m in (mask, "none"))
    assert found.logits.isfinite().all()
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)


def test_a_mask_passes_gradients_to_the_candidates_alone() -> None:
    picture, _ = with_hole(96, 128, 3, 0)
    net = model("nodata").train()
    prediction = net([TensorImage(picture, (0.0,) * 3)])
    prediction.logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_read_in_parts_is_masked_as_its_pixels_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    for seed in range(5):
        picture, hole = with_hole(96, 128, seed, 9)
        image = geotiff(tmp_path / "a.tif", picture, "9")
        whole = pixels(image)
        monkeypatch.setattr(files, "LARGE", 0)
        assert image.is_large
        assert pixels(image) is image
        monkeypatch.undo()
        assert isinstance(whole, TensorImage)
        net = model("nodata", channels=channels)
        found = []
        for each in sources([image, whole], channels):
            windows, _ = net.geometry.windows([each], torch.device("cpu"))
            views = net.geometry.views([each], torch.device("cpu"))
            found.append(net.geometry.empty([each], views, windows, "nodata"))
            assert not any(is_nothing(hole, window) for window in chosen(net, each))
        assert found[0].any()
        assert torch.equal(*found)


@pytest.mark.parametrize("colour", [(1.0, 0.0), (0.8, 0.1), (1.2, -0.05)])
def test_an_augmented_image_is_masked_where_its_changed_copy_is(
    tmp_path: Path, colour: tuple[float, float]
) -> None:
    picture, hole = with_hole(96, 128, 1, 120)
    for stored in (
        geotiff(tmp_path / "a.tif", picture, "120"),
        TensorImage(picture, (120 / 255,) * 3),
    ):
        image = AugmentedImage(stored, (5, -7), colour, flips=(-1,))
        hidden = torch.zeros_like(hole)
        hidden[5:, :-7] = hole[:-5, 7:]
        for window in chosen(model("nodata"), image):
            assert not is_nothing(hidden.flip(-1), window)


def test_what_is_kept_of_a_file_knows_its_colour_of_no_data(tmp_path: Path) -> None:
    image = geotiff(tmp_path / "a.tif", miniatures.pixels(40, 40), "3")
    kept = KeptImages(10**6)
    first = kept.pixels(0, image)
    assert kept.pixels(0, FileImage(image.path)) is first
    assert kept.free == 10**6 - 3 * 40 * 40
    assert nodata_of(first) == image.nodata() == nodata_of(sources([first], 3)[0])
    grey = sources([first], 1)[0]
    assert nodata_of(grey) == (image.nodata()[0],)


# a training


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four maps, whose left half has no data."""
    root = tmp_path_factory.mktemp("maps")
    for number, name in enumerate(("field", "forest")):
        (root / name).mkdir()
        for index in range(4):
            picture = miniatures.pixels(96, 96, seed=10 * number + index)
            picture[:, :, :48] = 0
            picture[number] //= 3
            geotiff(root / name / f"{index}.tif", picture, "0")
    return root


def test_a_plan_says_how_much_is_masked(maps: Path, capsys: Any) -> None:
    assert main(["plan", str(maps), *OPTIONS]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "masked" in each]
    share = int(line.split("%")[0].split()[-1])
    assert 25 <= share <= 50
    assert "no data" in line
    assert main(["plan", str(maps), *OPTIONS, "--mask", "none"]) == 0
    assert "masked" not in capsys.readouterr().out
    assert main(["plan", str(maps), *OPTIONS, "--mask", "black"]) == 2
    assert "nodata" in capsys.readouterr().err


def test_a_run_masks_what_its_training_masked(maps: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"encoder": "thin", "view": (64, 64), "patch": 16, "k": 2}
    options |= {"steps": 2, "batch": 2, "accelerator": "cpu"}
    for mask in ("nodata", "none"):
        run = foveal.train(maps, output=tmp_path / mask, mask=mask, **options)
        assert run.model.mask == mask
        file = run.path / "model.yaml"
        assert yaml.safe_load(file.read_text())["model"]["arguments"]["mask"] == mask
    results = foveal.load(tmp_path / "nodata").predict(maps)
    assert len(results) == 8
    assert all(x1 > 48 for result in results for _, _, _, x1 in result.windows)


def test_a_run_from_before_there_was_a_mask_has_none(maps: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"encoder": "thin", "view": (64, 64), "patch": 16, "k": 2}
    run = foveal.train(maps, output=tmp_path / "run", steps=1, batch=2, **options)
    file = run.path / "model.yaml"
    stored = yaml.safe_load(file.read_text())
    del stored["model"]["arguments"]["mask"]
    file.write_text(yaml.safe_dump(stored))
    assert foveal.load(run.path).model.mask == "none"
