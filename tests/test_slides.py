"""Slides that OpenSlide reads: the pixels that were written, from the level that suffices."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import miniatures
from foveal.data.folder.tree import is_image
from foveal.images import FileImage, ImageError, TensorImage, read, slides
from foveal.images.file_resolution import resolution
from foveal.images.header import read_header
from foveal.images.tile_cache import TileCache
from mutated import fault_of
from slide_files import aperio, generic
from test_lazy_files import LEVEL, PEAK, WINDOWS, assert_crops_are_those_of_the_whole, crops

pytest.importorskip("openslide", reason="the extra slides is not installed")
pytest.importorskip("tifffile", reason="tifffile, which writes slides, is missing")

Write = Callable[..., Path]
KINDS = pytest.mark.parametrize(("write", "name"), [(aperio, "a.svs"), (generic, "a.bif")])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "_PIECE", (40, 56))


def picture(height: int = 230, width: int = 310) -> Tensor:
    return miniatures.smooth(height, width)


def array(pixels: Tensor) -> np.ndarray:
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


@KINDS
def test_crops_of_a_slide_are_the_pixels_that_were_written(
    tmp_path: Path, write: Write, name: str
) -> None:
    pixels = miniatures.pixels(230, 310)
    path = write(tmp_path / name, array(pixels))
    assert torch.equal(read(path), pixels)
    assert_crops_are_those_of_the_whole(path)
    far = WINDOWS + torch.tensor([185, 240, 185, 240])  # over the lower right corner
    for crop, expected in zip(
        crops(FileImage(path), far), crops(TensorImage(pixels), far), strict=True
    ):
        assert torch.equal(crop, expected)


@KINDS
def test_the_view_of_a_slide_is_that_of_its_pixels(tmp_path: Path, write: Write, name: str) -> None:
    pixels = picture(256, 320)
    image = FileImage(write(tmp_path / name, array(pixels)))
    for size in ((20, 27), (64, 80), (100, 120), (256, 320), (300, 400)):
        difference = image.view(size) - TensorImage(pixels).view(size)
        assert difference.abs().max() <= 6 * LEVEL, size  # as levels of 2 x 2 means differ
    seen = image.glance((20, 30, 200, 270), (18, 24))
    expected = TensorImage(pixels).crops(torch.tensor([[20, 30, 200, 270]]), (18, 24))[0]
    assert (seen - expected).abs().max() <= 6 * LEVEL


def test_a_view_of_a_slide_comes_from_the_smallest_sufficient_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    pieces = slides.SlideLevel.pieces
    monkeypatch.setattr(
        slides.SlideLevel, "pieces", lambda s, places: seen.append(s.size) or pieces(s, places)
    )
    image = FileImage(aperio(tmp_path / "a.svs", array(picture())))
    for size, expected in {(57, 77): (57, 77), (58, 77): (115, 155), (116, 9): (230, 310)}.items():
        seen.clear()
        image.view(size)
        assert set(seen) == {expected}
    seen.clear()
    image.crops(WINDOWS, (8, 8))
    assert set(seen) == {(230, 310)}


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    pixels = array(picture(128, 128))
    tiles = [pixels[:64, :64], None, None, pixels[64:, 64:]]
    path = generic(tmp_path / "a.bif", iter(tiles), shape=pixels.shape, dtype=np.uint8)
    expected = torch.full((3, 128, 128), 255, dtype=torch.uint8)
    for y, x in ((0, 0), (64, 64)):
        expected[:, y : y + 64, x : x + 64] = torch.from_numpy(pixels).permute(2, 0, 1)[
            :, y : y + 64, x : x + 64
        ]
    assert torch.equal(read(path), expected)


def test_a_slide_says_what_it_is_and_what_its_pixels_show(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.svs", array(picture()))
    found = resolution(path)
    assert found is not None
    assert (found.down, found.across) == (0.25, 0.25)
    header = read_header(path)
    assert (str(header), header.size) == ("8-bit RGB slide (aperio)", (230, 310))
    assert resolution(generic(tmp_path / "a.bif", array(picture()))) is None


def test_a_slide_that_foveal_reads_itself_needs_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    assert is_image(Path("a.SVS"))
    pixels = miniatures.pixels(230, 310)
    path = generic(tmp_path / "a.svs", array(pixels), description="Aperio |MPP = 0.5")
    assert torch.equal(read(path), pixels)
    found = resolution(path)
    assert found is not None
    assert found.down == 0.5


@KINDS
def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, name: str
) -> None:
    path = write(tmp_path / name, array(picture()))
    monkeypatch.setitem(sys.modules, "openslide", None)
    for look in (lambda: FileImage(path).size, lambda: read(path), lambda: read_header(path)):
        with pytest.raises(ImageError, match=r"pip install 'foveal\[slides\]'") as caught:
            look()
        assert str(caught.value).startswith(f"{path}: slides")


def test_other_tiffs_are_refused_as_before(tmp_path: Path) -> None:
    floats = generic(tmp_path / "a.tif", array(picture()).astype(np.float32))
    with pytest.raises(ImageError, match="floating-point samples"):
        read(floats)
    with pytest.raises(ImageError, match="not a slide that OpenSlide reads"):
        read(miniatures.write(tmp_path / "a.png", picture()).rename(tmp_path / "a.mrxs"))


# bad files


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_slide_cut_off_anywhere_is_read_or_refused(tmp_path: Path, share: float) -> None:
    for write, name in ((aperio, "a.svs"), (generic, "a.bif")):
        path = write(tmp_path / name, array(miniatures.pixels(230, 310)))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        found: list[Tensor] = []
        assert fault_of(lambda path=path, found=found: found.append(read(path))) is None
        assert all(torch.equal(pixels, miniatures.pixels(230, 310)) for pixels in found)
        assert not found or share > 0.9  # where only the label is cut


def test_damage_in_a_slide_matters_only_where_it_is_looked_at(tmp_path: Path) -> None:
    pixels = miniatures.pixels(256, 256)
    path = generic(tmp_path / "a.bif", array(pixels))
    content = bytearray(path.read_bytes())
    at = max(place for place in range(len(content)) if content[place : place + 2] == b"\x78\x9c")
    content[at : at + 400] = bytes(400)  # in the last tile
    path.write_bytes(content)
    image = FileImage(path)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"a\.bif: damaged or truncated"):
            image.crops(torch.tensor([[230, 230, 250, 250]]), (20, 20))
        crop = image.crops(torch.tensor([[10, 10, 30, 30]]), (20, 20))[0]
        assert torch.equal(crop, pixels[:, 10:30, 10:30] / 255)


def test_a_slide_that_changes_is_refused_and_a_huge_one_needs_a_pyramid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = generic(tmp_path / "a.bif", array(picture()))
    image = FileImage(path)
    assert image.size == (230, 310)
    generic(path, array(picture(128, 128)))
    with pytest.raises(ImageError, match="changed while it was read"):
        image.crops(WINDOWS, (8, 8))
    with pytest.raises(ImageError, match="changed while it was read"):
        image.view((9, 9))
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", str(100 * 100))
    with pytest.raises(ImageError, match=r"128 x 128 pixels exceed .* slides without smaller"):
        _ = FileImage(path).size
    with pytest.raises(ImageError, match=r"230 x 310 pixels exceed the limit"):
        read(aperio(tmp_path / "b.svs", array(picture())))


# threads and processes


def test_threads_and_processes_share_a_slide(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.svs", array(miniatures.pixels(230, 310)))
    image, expected = FileImage(path, TileCache(3000)), crops(TensorImage(read(path)))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: crops(image), range(12)):
            assert all(map(torch.equal, found, expected))
    for start in ("fork", "spawn"):
        with multiprocessing.get_context(start).Pool(1) as processes:
            for found in processes.map(crops, [image] * 2):
                assert all(map(torch.equal, found, expected))


def test_only_so_many_slides_stay_open(tmp_path: Path) -> None:
    images = []
    for number in range(slides._OPEN + 3):
        path = generic(tmp_path / f"{number}.bif", array(miniatures.pixels(64, 64, seed=number)))
        images.append(FileImage(path))
        images[-1].view((8, 8))
    opened = slides._opened.cache_info()
    assert opened.currsize <= slides._OPEN
    for number in (0, len(images) - 1):
        crop = images[number].crops(torch.tensor([[0, 0, 64, 64]]), (64, 64))[0]
        assert torch.equal(crop, miniatures.pixels(64, 64, seed=number) / 255)


@pytest.mark.slow
def test_the_peak_memory_of_a_slide_does_not_follow_its_size(tmp_path: Path) -> None:
    row = np.tile(array(picture(512, 512)), (1, 24, 1))
    tiles = (row[:, at : at + 512] for _ in range(20) for at in range(0, 12288, 512))
    path = generic(
        tmp_path / "a.bif", tiles, shape=(10240, 12288, 3), dtype=np.uint8, tile=(512, 512)
    )
    command = [sys.executable, "-c", PEAK, str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    pixels, megabytes = map(int, outcome.stdout.split())
    assert pixels == 10240 * 12288
    # 64 that OpenSlide keeps, 64 of pieces, 50 of a band; 378 if it were decoded whole
    assert megabytes < 250
