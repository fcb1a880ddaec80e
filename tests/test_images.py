"""Laws of images in memory and in files."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

import miniatures
from foveal._memory import memory
from foveal.errors import UserError
from foveal.images import FileImage, Image, ImageError, TensorImage, limits, read, sources

LEVEL = 1 / 255


def from_pillow(image: PIL.Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def slow_crop(pixels: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    top, left, bottom, right = window
    crop = torch.zeros(pixels.shape[0], bottom - top, right - left)
    for y in range(top, bottom):
        for x in range(left, right):
            if 0 <= y < pixels.shape[1] and 0 <= x < pixels.shape[2]:
                crop[:, y - top, x - left] = pixels[:, y, x] / 255
    return crop


# in memory


@settings(deadline=None, max_examples=30)
@given(top=st.integers(-9, 14), left=st.integers(-9, 14), channels=st.integers(1, 5))
def test_crops_are_slices_and_zero_outside(top: int, left: int, channels: int) -> None:
    pixels = miniatures.pixels(10, 12, channels)
    window = (top, left, top + 5, left + 7)
    crops = TensorImage(pixels).crops(torch.tensor([window]), (5, 7))
    assert crops.dtype == torch.float32
    assert torch.equal(crops[0], slow_crop(pixels, window))


def test_no_windows_give_no_crops() -> None:
    image = TensorImage(miniatures.pixels(8, 8))
    assert image.crops(torch.zeros(0, 4, dtype=torch.int64), (3, 4)).shape == (0, 3, 3, 4)


def test_a_window_of_another_size_is_cut_and_then_resampled() -> None:
    pixels = torch.rand(2, 30, 30, generator=torch.Generator().manual_seed(0))
    crops = TensorImage(pixels).crops(torch.tensor([[2, 3, 26, 19], [4, 5, 10, 9]]), (6, 4))
    expected = interpolate(pixels[None, :, 2:26, 3:19], (6, 4), mode="bilinear", antialias=True)
    assert torch.equal(crops[0], expected[0])
    assert torch.equal(crops[1], pixels[:, 4:10, 5:9])


def test_resampling_pads_before_it_averages() -> None:
    image = TensorImage(torch.ones(1, 4, 4))
    # the left half of the window is outside
    crop = image.crops(torch.tensor([[0, -4, 4, 4]]), (4, 2))
    assert crop[0, 0, :, 0].max() < crop[0, 0, :, 1].min()


def test_a_window_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(3, 0, 3, 4\)"):
        TensorImage(torch.ones(1, 4, 4)).crops(torch.tensor([[3, 0, 3, 4]]), (4, 4))


def test_crops_are_differentiable() -> None:
    pixels = torch.rand(1, 6, 6, requires_grad=True)
    TensorImage(pixels).crops(torch.tensor([[4, 4, 8, 8], [0, 0, 4, 4]]), (4, 4)).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.sum() == 4 + 16


@pytest.mark.parametrize("size", [(7, 5), (40, 50), (33, 21), (1, 1), (7, 1), (1, 7)])
def test_views_of_bytes_and_of_floats_agree(size: tuple[int, int]) -> None:
    pixels = miniatures.pixels(33, 47)
    view = TensorImage(pixels).view(size)
    # turned where the width is one, for which torch 2.13 repeats the first row
    turned = pixels.transpose(1, 2)[None] / 255 if size[1] == 1 else pixels[None] / 255
    turned_size = size[::-1] if size[1] == 1 else size
    expected = interpolate(turned, turned_size, mode="bilinear", antialias=True)[0]
    expected = expected.transpose(1, 2) if size[1] == 1 else expected
    assert view.dtype == torch.float32
    # bytes are rounded once per axis
    assert torch.allclose(view, expected, atol=1.01 * LEVEL, rtol=0)
    assert torch.allclose(TensorImage(pixels / 255).view(size), expected)


def test_a_view_of_the_same_size_is_the_image() -> None:
    pixels = miniatures.pixels(9, 11)
    assert torch.equal(TensorImage(pixels).view((9, 11)), pixels / 255)


def test_views_are_antialiased() -> None:
    # stripes one pixel wide average to gray
    stripes = torch.arange(64).remainder(2).expand(1, 64, 64).float()
    assert torch.allclose(TensorImage(stripes).view((8, 8)), torch.tensor(0.5), atol=0.1)


def test_double_precision_becomes_single() -> None:
    image = TensorImage(torch.rand(1, 8, 8, dtype=torch.float64))
    assert image.view((4, 4)).dtype == torch.float32
    assert image.crops(torch.tensor([[0, 0, 4, 4]]), (4, 4)).dtype == torch.float32


def test_an_image_has_three_axes_and_pixels_of_bytes_or_floats() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        TensorImage(torch.rand(8, 8))
    with pytest.raises(ValueError, match=r"\(3, 0, 8\)"):
        TensorImage(torch.rand(3, 0, 8))
    with pytest.raises(TypeError, match="int64"):
        TensorImage(torch.zeros(3, 8, 8, dtype=torch.int64))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "pixels",
    [
        255 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)),
        (miniatures.pixels(8, 8) / 255 - 0.45) / 0.225,  # standardised
        2 * miniatures.pixels(8, 8) / 255 - 1,  # -1 .. 1
        torch.full((3, 8, 8), torch.nan),
        torch.full((3, 8, 8), torch.inf),
        torch.rand(3, 8, 8).half() * 300,
    ],
)
def test_floats_that_are_not_in_0_to_1_are_refused_in_words(
    pixels: Tensor, channels_last: bool
) -> None:
    if channels_last:
        pixels = pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for images in (pixels[None], [pixels]):
        with pytest.raises(ValueError, match=r"in \[0, 1\]: got .* to .*255"):
            sources(images, 3)


@pytest.mark.parametrize("a", [0.8, 1.2])
@pytest.mark.parametrize("b", [-0.1, 0.1])
def test_floats_that_colour_augmentation_has_not_clipped_are_taken(a: float, b: float) -> None:
    pixels = torch.tensor([0.0, 1.0]).expand(3, 2, 2) * a + b
    assert torch.equal(TensorImage(pixels).view((2, 2)), pixels)


# files that can be used


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("tiled.tif", {"compression": "tiff_lzw", "tile": (16, 16)}),
        ("a.webp", {"lossless": True}),
        ("a.bmp", {}),
        ("a.PNG", {}),
        ("a.ppm", {}),
    ],
)
def test_lossless_files_are_read_to_the_bit(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    pixels = miniatures.pixels(40, 50)
    path = miniatures.write(tmp_path / name, pixels, **options)
    assert FileImage(path).size == (40, 50)
    assert torch.equal(read(path), pixels)


def test_images_higher_than_a_strip_are_read_to_the_bit(tmp_path: Path) -> None:
    pixels = miniatures.pixels(2500, 3)
    assert torch.equal(read(miniatures.write(tmp_path / "a.png", pixels)), pixels)


def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path: Path) -> None:
    path = miniatures.write(tmp_path / "a.jpg", miniatures.pixels(40, 50))
    with PIL.Image.open(path) as image:
        assert torch.equal(read(path), from_pillow(image))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_file_equals_the_upright_picture(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright = miniatures.smooth(24, 40)
    stored = {  # how the sensor held it, by the meaning of EXIF orientation
        1: upright,
        2: upright.flip(2),
        3: upright.flip(1, 2),
        4: upright.flip(1),
        5: upright.transpose(1, 2),
        6: upright.rot90(1, (1, 2)),
        7: upright.flip(1, 2).transpose(1, 2),
        8: upright.rot90(-1, (1, 2)),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[274] = orientation
    options = {
        "jpg": {"exif": exif, "quality": 100, "subsampling": 0},
        "webp": {"exif": exif, "lossless": True},
    }.get(suffix, {"exif": exif})
    path = miniatures.write(tmp_path / f"a.{suffix}", stored, **options)
    assert FileImage(path).size == (24, 40)
    image = FileImage(path)
    view, pixels = image.view((24, 40)), image.decode()
    assert (pixels.int() - upright.int()).abs().max() <= (4 if suffix == "jpg" else 0)
    assert torch.equal(view, pixels / 255)


def test_the_size_of_a_png_comes_from_the_header_alone(tmp_path: Path) -> None:
    whole = miniatures.write(tmp_path / "a.png", miniatures.pixels(64, 48))
    assert FileImage(miniatures.truncated(whole, tmp_path / "cut.png")).size == (64, 48)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, 4096).reshape(64, 64)
    path = miniatures.gray16(tmp_path / f"a.{suffix}", values)
    expected = torch.from_numpy(values.astype(np.uint16) / 257).round().expand(3, -1, -1)
    assert torch.equal(read(path).double(), expected)


def test_16_bit_gray_with_zero_for_white_is_inverted(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))
    path = miniatures.write(tmp_path / "a.tif", image, tiffinfo={262: 0})
    with PIL.Image.open(path) as image:
        assert image.tag_v2[262] == 0  # type: ignore[attr-defined]
    assert read(path)[0].tolist() == [[255, 0]]


def test_gray_palette_and_bilevel_become_three_channels(tmp_path: Path) -> None:
    gray = miniatures.pixels(20, 30, 1)
    assert torch.equal(read(miniatures.write(tmp_path / "l.png", gray)), gray.expand(3, -1, -1))
    picture = PIL.Image.fromarray(gray[0].numpy())
    bilevel = picture.convert("1")
    pixels = read(miniatures.write(tmp_path / "1.png", bilevel))
    assert torch.equal(pixels, from_pillow(bilevel.convert("RGB")))
    palette = picture.convert("RGB").quantize(16)
    pixels = read(miniatures.write(tmp_path / "p.png", palette))
    assert torch.equal(pixels, from_pillow(palette.convert("RGB")))


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    pixels = miniatures.smooth(32, 32)
    cmyk = PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).convert("CMYK")
    path = miniatures.write(tmp_path / "a.jpg", cmyk, quality=100)
    assert (read(path).int() - pixels.int()).abs().max() <= 10


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    rgba = miniatures.pixels(10, 10, 4)
    rgba[3, :5], rgba[3, 5:] = 0, 255
    image = PIL.Image.fromarray(rgba.permute(1, 2, 0).contiguous().numpy())
    pixels = read(miniatures.write(tmp_path / "a.png", image))
    assert (pixels[:, :5] == 255).all()
    assert torch.equal(pixels[:, 5:], rgba[:3, 5:])


def test_a_transparent_palette_is_white_without_a_warning(tmp_path: Path) -> None:
    image = PIL.Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    path = miniatures.write(tmp_path / "a.png", image, transparency=bytes([0, 255]))
    assert (read(path) == 255).all()


def test_a_pyramid_is_its_first_page(tmp_path: Path) -> None:
    path = miniatures.several(tmp_path / "a.tif", [(64, 97), (32, 49), (16, 24)])
    assert FileImage(path).size == (64, 97)
    assert torch.equal(read(path), miniatures.pixels(64, 97))


def test_what_a_phone_adds_to_a_jpeg_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    first, second = (
        PIL.Image.fromarray(miniatures.pixels(20, 30, seed=s).permute(1, 2, 0).numpy().copy())
        for s in (0, 1)
    )
    first.save(path, format="MPO", save_all=True, append_images=[second])
    assert read(path).shape == (3, 20, 30)


def test_crops_of_a_file_are_slices_of_its_pixels(tmp_path: Path) -> None:
    path = miniatures.write(tmp_path / "a.jpg", miniatures.pixels(40, 50))
    windows = torch.tensor([[0, 0, 8, 8], [35, 45, 43, 53], [-8, -8, 0, 0]])
    image = FileImage(path)
    assert torch.equal(
        image.crops(windows, (8, 8)),
        torch.stack([slow_crop(read(path), tuple(window)) for window in windows.tolist()]),
    )
    assert image.channels == 3


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_reduced_while_decoding_looks_the_same(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    path = miniatures.write(tmp_path / "a.jpg", miniatures.smooth(640, 400), quality=95, exif=exif)
    early, image = FileImage(path), FileImage(path)
    image.decode()
    for size in [(30, 30), (75, 44), (150, 300)]:
        assert early.view(size).shape == (3, *size)
        assert torch.allclose(early.view(size), image.view(size), atol=6 * LEVEL)


# files that cannot be used


KINDS = {
    "missing": "no such file",
    "folder": "folder",
    "empty": "0 bytes",
    "text": "not an image",
    "header cut": "not an image|truncated",
    "jpeg cut": "truncated",
    "png cut": "truncated",
    "tiff cut": "truncated|not an image",
    "gif animated": "2 images",
    "webp animated": "2 images",
    "png animated": "2 images",
    "tiff pages": "2 images",
    "float": "floating-point samples of 32 bits",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_one_line_that_names_it_and_the_remedy(tmp_path: Path, kind: str) -> None:
    path = miniatures.bad_images(tmp_path)[kind]
    with pytest.raises(ImageError, match=KINDS[kind]) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert ";" in message
    assert "\n" not in message
    assert isinstance(caught.value, UserError)
    with pytest.raises(ImageError):
        FileImage(path).view((8, 8))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "cut" not in kind])
def test_the_header_shows_most_faults(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ImageError, match=KINDS[kind]):
        _ = FileImage(miniatures.bad_images(tmp_path)[kind]).size


def test_several_pages_of_other_shapes_are_refused(tmp_path: Path) -> None:
    path = miniatures.several(tmp_path / "a.tif", [(64, 64), (30, 60)])
    with pytest.raises(ImageError, match="2 images"):
        read(path)


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = miniatures.write(tmp_path / "a.png", miniatures.pixels(20, 30))
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", "599")
    with pytest.raises(ImageError, match=r"20 x 30 pixels exceed the limit of 599 .*MAX_PIXELS"):
        _ = FileImage(path).size
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", "600")
    assert FileImage(path).size == (20, 30)
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", "9" * 5000)
    with pytest.raises(ImageError, match="must be a number of pixels"):
        read(path)
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="must be a number of pixels: many"):
        _ = FileImage(path).size


def test_the_limit_of_pixels_follows_from_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOVEAL_MAX_PIXELS", raising=False)
    assert 1 <= limits.largest(whole=True) <= limits.largest(whole=False) == 2**30
    assert 2 * 10 * limits.largest(whole=True) <= memory()


def test_the_limit_of_pillow_is_lifted_inside_and_kept_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = miniatures.write(tmp_path / "a.png", miniatures.pixels(20, 30))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    assert read(path).shape == (3, 20, 30)
    with pytest.raises(ImageError):
        read(tmp_path / "missing.png")
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


def test_no_file_is_opened_to_see_that_it_is_an_image(tmp_path: Path) -> None:
    assert isinstance(FileImage(tmp_path / "missing.png"), Image)
    assert isinstance(TensorImage(torch.ones(1, 4, 4)), Image)
    assert not isinstance(torch.ones(1, 4, 4), Image)


def test_a_line_break_in_a_name_stays_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "two\nlines.png")
    assert "\n" not in str(caught.value)
