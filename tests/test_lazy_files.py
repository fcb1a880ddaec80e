"""Files of which only a part is read: the same pixels as the whole, from less of the file."""

import functools
import itertools
import pickle
import subprocess
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

import miniatures
from foveal.evaluation import predict
from foveal.images import FileImage, ImageError, TensorImage, file_sources, files, read, sources
from foveal.images import tiff_pieces as pieces
from foveal.images.resampling import resampled, resampled_bands
from foveal.images.tile_cache import TileCache
from foveal.models import PatchClassifier
from foveal.nn import aggregators
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import ConvScorer
from foveal.nn.selectors import TopK
from tiff_files import (
    DEFLATE,
    GRAY,
    JPEG,
    LZW,
    NONE,
    READABLE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    jpeg,
    layout,
    random,
    tiff,
)

LEVEL = 1 / 255
TILED = Layout(tile=16)
# inside a tile, across tiles, all, across each border, in a corner, outside
WINDOWS = torch.tensor(
    [
        [1, 2, 9, 10],
        [10, 12, 37, 41],
        [0, 0, 45, 70],
        [-5, 30, 8, 50],
        [40, 3, 52, 19],
        [20, -9, 33, 4],
        [17, 60, 30, 85],
        [-4, -4, 3, 3],
        [100, 0, 110, 9],
    ]
)


@pytest.fixture(autouse=True)
def _small_groups_of_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_STRIP_GROUP", 1000)


def written(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def crops(image: FileImage | TensorImage, windows: Tensor = WINDOWS) -> list[Tensor]:
    """Each window at its own size."""
    sides = (windows[:, 2:] - windows[:, :2]).tolist()
    return [image.crops(w[None], (h, x))[0] for w, (h, x) in zip(windows, sides, strict=True)]


def assert_crops_are_those_of_the_whole(path: Path, kind: object = None) -> None:
    image, whole = FileImage(path), TensorImage(read(path))
    assert image.in_parts, kind
    assert image.size == whole.size, kind
    for crop, expected in zip(crops(image), crops(whole), strict=True):
        assert torch.equal(crop, expected), kind


# the same pixels as the whole


@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("tile", [0, 16])
def test_crops_equal_those_of_the_whole_to_the_bit(
    tmp_path: Path, compression: int, tile: int
) -> None:
    variants = ((False, False, 1), (True, False, 1), (False, True, 1), (True, False, 2))
    for number, ((colour, bits, extra), planes) in enumerate(
        itertools.product(READABLE, (False, True))
    ):
        big_endian, bigtiff, predictor = variants[number % 4]
        if planes and any(extra) and (colour, len(extra)) != (RGB, 1):
            continue
        if (colour, bits, big_endian) == (WHITE_IS_ZERO, 16, True):
            continue
        kind = layout(
            colour,
            bits,
            extra,
            compression=compression,
            planes=planes,
            tile=tile,
            big_endian=big_endian,
            bigtiff=bigtiff,
            predictor=predictor if bits >= 8 and compression != NONE else 1,
        )
        path = written(tmp_path / "a.tif", tiff(random(kind, 45, 70), kind))
        assert_crops_are_those_of_the_whole(path, kind)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_crops_and_views_are_upright(tmp_path: Path, orientation: int) -> None:
    for tile, planes in itertools.product((0, 16), (False, True)):
        kind = Layout(tile=tile, planes=planes, tags={274: (orientation,)})
        path = written(tmp_path / "a.tif", tiff(random(kind, 45, 70), kind))
        assert_crops_are_those_of_the_whole(path, kind)
        image, whole = FileImage(path), TensorImage(read(path))
        assert torch.equal(image.view(image.size), whole.view(image.size))
        assert (image.view((9, 20)) - whole.view((9, 20))).abs().max() <= 1.01 * LEVEL


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("tile", [0, 16])
def test_jpeg_in_a_tiff_is_decoded_in_parts_as_in_the_whole(tmp_path: Path, tile: int) -> None:
    kinds = [
        Layout(RGB, encode=jpeg("RGB", keep_rgb=True)),
        Layout(YCBCR, encode=jpeg("RGB", subsampling=0), tags={530: (1, 1)}),
        Layout(YCBCR, encode=jpeg("RGB", subsampling=2), tags={530: (2, 2), 278: (16,)}),
        Layout(GRAY, encode=jpeg("L")),
    ]
    for kind in kinds[: 4 if tile else 2]:
        kind = replace(kind, compression=JPEG, tile=tile)
        path = written(tmp_path / "a.tif", tiff(random(kind, 45, 70), kind))
        assert_crops_are_those_of_the_whole(path, kind)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_read_in_strips(tmp_path: Path, compression: str) -> None:
    bits = np.random.default_rng(0).random((45, 70)) < 0.5
    options = {"compression": compression, "tiffinfo": {278: 5}, "strip_size": 45}
    path = miniatures.write(tmp_path / "a.tif", PIL.Image.fromarray(bits), **options)
    assert_crops_are_those_of_the_whole(path)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "gif", "bmp"])
def test_crops_of_a_file_that_is_decoded_whole_are_those_of_its_pixels(
    tmp_path: Path, suffix: str
) -> None:
    path = miniatures.write(tmp_path / f"a.{suffix}", miniatures.pixels(45, 70))
    image, whole = FileImage(path), TensorImage(read(path))
    assert not image.in_parts
    for crop, expected in zip(crops(image), crops(whole), strict=True):
        assert torch.equal(crop, expected)


def test_the_grey_of_a_file_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", tiff(random(TILED, 45, 70), TILED))
    (lazy,), (whole,) = sources([FileImage(path)], 1), sources([read(path)], 1)
    assert (lazy.channels, lazy.size) == (1, (45, 70))
    assert torch.equal(lazy.crops(WINDOWS[:1], (8, 8)), whole.crops(WINDOWS[:1], (8, 8)))
    assert (lazy.view((9, 14)) - whole.view((9, 14))).abs().max() <= 1.01 * LEVEL


# views


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_resampling_in_bands_is_resampling(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 40))
    size = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 50))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, height - 1)), max_size=5)))
    edges = [0, *(cut for cut in cuts if cut < height), height]
    image = miniatures.pixels(height, width)
    bands = [image[:, a:b] for a, b in itertools.pairwise(edges)]
    whole = resampled(image, size)
    assert (resampled_bands(bands, height, size) - whole).abs().max() <= 1.01 * LEVEL
    assert (resampled(image / 255, size) - whole).abs().max() <= 1.01 * LEVEL


@pytest.mark.parametrize("length", [2, 35])
def test_a_row_resampled_to_a_column_is_its_mean_by_weight(length: int) -> None:
    row = miniatures.pixels(1, length)
    weights = 1 - (torch.arange(length) + 0.5 - length / 2).abs() / length
    expected = row[:, 0].float() @ (weights / weights.sum()) / 255
    column = resampled(row, (35, 1))
    assert (column - expected[:, None, None]).abs().max() <= 1.01 * LEVEL


def test_a_view_is_the_same_in_few_bands_or_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = written(tmp_path / "a.tif", tiff(random(TILED, 90, 70), TILED))
    png = miniatures.write(tmp_path / "a.png", miniatures.pixels(90, 70))
    for path, size in itertools.product((tiled, png), ((30, 20), (90, 70), (100, 10), (1, 1))):
        whole = FileImage(path).view(size)
        with monkeypatch.context() as patch:
            patch.setattr(file_sources, "_BAND", 1)
            assert (FileImage(path).view(size) - whole).abs().max() <= 1.01 * LEVEL


SIZES = ((96, 130), (48, 65), (24, 32), (12, 16))


def pyramid(path: Path, sizes: Sequence[tuple[int, int]] = SIZES, **tags: object) -> Path:
    """Each level has one gray of its own: 200, 150, 100, .."""
    pages = []
    for number, (height, width) in enumerate(sizes):
        kind = replace(TILED, tags={254: (1,)} if number else {}, **tags)
        values = np.full((height, width, 3), 200 - 50 * number, np.uint8)
        pages.append((values, kind))
    return written(path, tiff(pages))


def gray(view: Tensor) -> int:
    assert view.min() == view.max()
    return round(255 * float(view[0, 0, 0]))


def test_a_view_comes_from_the_smallest_sufficient_level(tmp_path: Path) -> None:
    image = FileImage(pyramid(tmp_path / "a.tif"))
    for size, expected in {
        (5, 5): 50,
        (12, 16): 50,
        (13, 16): 100,
        (12, 17): 100,
        (48, 60): 150,
        (49, 65): 200,
        (200, 300): 200,
    }.items():
        assert gray(image.view(size)) == expected, size
    assert gray(image.crops(torch.tensor([[0, 0, 90, 120]]), (5, 5))[0]) == 200


def test_a_page_of_another_shape_is_no_level(tmp_path: Path) -> None:
    pages = [(SIZES[0], 0), ((48, 30), 1), ((20, 26), 4), ((100, 140), 1)]
    content = tiff(
        [
            (np.full((*size, 3), 200 - mark, np.uint8), replace(TILED, tags={254: (mark,)}))
            for size, mark in pages
        ]
    )
    image = FileImage(written(tmp_path / "a.tif", content))
    assert gray(image.view((5, 5))) == 200


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_levels_below_the_first_page_are_found(tmp_path: Path, bigtiff: bool, count: int) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes SubIFDs, is missing")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", bigtiff=bigtiff) as file:
        options = {"tile": (16, 16), "photometric": "rgb"}
        file.write(np.full((96, 130, 3), 200, np.uint8), subifds=count, **options)
        for gray_value, size in ((150, (48, 65)), (100, (24, 32)))[:count]:
            file.write(np.full((*size, 3), gray_value, np.uint8), subfiletype=1, **options)
    image = FileImage(tmp_path / "a.ome.tif")
    assert image.in_parts
    assert gray(image.view((20, 30))) == {1: 150, 2: 100}[count]
    assert gray(image.view((40, 60))) == 150
    assert gray(image.view((49, 60))) == 200


def test_the_view_of_a_pyramid_looks_like_that_of_the_whole(tmp_path: Path) -> None:
    picture = miniatures.smooth(640, 400)
    halves = [picture.permute(1, 2, 0).numpy()]
    while len(halves[-1]) > 20:
        height, width = (side // 2 for side in halves[-1].shape[:2])
        cells = halves[-1][: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        halves.append(cells.mean(axis=(1, 3)).round().astype(np.uint8))
    pages = [(v, replace(TILED, tags={254: (int(n > 0),)})) for n, v in enumerate(halves)]
    path = written(tmp_path / "a.tif", tiff(pages))
    image, whole = FileImage(path), TensorImage(read(path))
    for size in [(30, 30), (75, 44), (150, 300)]:
        assert torch.allclose(image.view(size), whole.view(size), atol=6 * LEVEL)


# only what is needed


def damaged_tile(content: bytes, row: int, column: int, columns: int = 5) -> bytes:
    """Overwrite one tile of 16 x 16 deflated pixels; tiles are last, in order."""
    at = content.index(b"\x78\x9c")
    for _ in range(row * columns + column):
        at = content.index(b"\x78\x9c", at + 1)
    return content[:at] + bytes(20) + content[at + 20 :]


def test_damage_matters_only_where_it_is_looked_at(tmp_path: Path) -> None:
    kind = replace(TILED, compression=DEFLATE)
    content = tiff(random(kind, 45, 70), kind)
    whole = read(written(tmp_path / "a.tif", content))
    image = FileImage(written(tmp_path / "a.tif", damaged_tile(content, 1, 2)))
    assert torch.equal(
        image.crops(torch.tensor([[0, 0, 16, 70]]), (16, 70))[0], whole[:, :16] / 255
    )
    for look in (
        lambda: image.crops(torch.tensor([[20, 40, 24, 44]]), (4, 4)),
        lambda: image.view((9, 9)),
        image.decode,
    ):
        with pytest.raises(ImageError, match=r"a\.tif: damaged or truncated"):
            look()


def test_what_is_kept_of_files_is_bounded(tmp_path: Path) -> None:
    cache = TileCache(5 * 16 * 16 * 3)
    path = written(tmp_path / "a.tif", tiff(random(TILED, 90, 70), TILED))
    for image in (FileImage(path, cache), FileImage(path, cache)):  # which share it
        image.view((9, 9))
        image.crops(WINDOWS, (8, 8))
        assert 0 < sum(tile.nbytes for tile in cache._kept.values()) == cache._bytes <= cache.limit


PEAK = """
import resource, sys, torch
from foveal.images import FileImage
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = FileImage(sys.argv[1])
height, width = image.size
image.view((512, 512))
ends = torch.rand(32, 2) * torch.tensor([height - 128, width - 128])
windows = torch.cat([ends, ends + 128], dim=1).long()
windows[:, 2:] = windows[:, :2] + 128
image.crops(windows, (128, 128))
print(height * width, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("has_pyramid", [True, False])
def test_the_peak_memory_of_a_large_tiff_does_not_follow_its_size(
    tmp_path: Path, has_pyramid: bool
) -> None:
    deflated = functools.cache(zlib.compress)  # its tiles repeat
    kind = replace(TILED, tile=512, compression=DEFLATE, bigtiff=True)
    kind = replace(kind, encode=lambda piece: deflated(piece.tobytes()))
    row = miniatures.smooth(512, 8192).permute(1, 2, 0).numpy()
    picture = np.concatenate([row] * 24)  # 12288 x 8192
    pages = [picture, picture[::16, ::16]] if has_pyramid else [picture]
    marked = [(v, replace(kind, tags={254: (int(n > 0),)})) for n, v in enumerate(pages)]
    path = written(tmp_path / "a.tif", tiff(marked))
    command = [sys.executable, "-c", PEAK, str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    pixels, megabytes = map(int, outcome.stdout.split())
    assert pixels == 12288 * 8192
    # 64 of tiles, 12 of a band and its parts; 300 to 700 if it were decoded whole
    assert megabytes < 150


# bad files


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, tile: int, share: float) -> None:
    kind = Layout(tile=tile, compression=LZW)
    content = tiff(random(kind, 45, 70), kind)
    path = written(tmp_path / "a.tif", content[: int(share * len(content))])
    for look in (lambda: FileImage(path).view((9, 9)), lambda: crops(FileImage(path))):
        with pytest.raises(ImageError, match=r"truncated|not an image") as caught:
            look()
        assert "\n" not in str(caught.value)
    if tile and share > 0.2:
        with pytest.raises(ImageError, match="tiles lie beyond the end of the file"):
            _ = FileImage(path).size


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({325: (0,) * 15}, "15 of 15 tiles are missing"),
        ({325: (768,) * 14 + (0,)}, "1 of 15 tiles are missing"),
        ({325: (768,) * 14}, "14 of 15 tiles are listed"),
        ({325: (10**8,) * 15}, "15 of 15 tiles lie beyond"),
        ({256: (700,)}, "15 of 132 tiles are listed"),
        ({256: (0,)}, r"a\.tif: "),
        ({257: (0,)}, r"a\.tif: "),
        ({322: (0,)}, r"a\.tif: "),
        ({323: (0,)}, r"a\.tif: "),
    ],
)
def test_wrong_tiles_are_refused_in_one_line(
    tmp_path: Path, tags: dict[int, tuple[int, ...]], words: str
) -> None:
    kind = replace(TILED, tags=tags)
    path = written(tmp_path / "a.tif", tiff(random(kind, 45, 70), kind))
    with pytest.raises(ImageError, match=words) as caught:
        FileImage(path).crops(WINDOWS[:2], (8, 8))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count("\n") == 0


def test_a_level_without_its_tiles_is_refused(tmp_path: Path) -> None:
    first = np.zeros((45, 70, 3), np.uint8)
    level = replace(TILED, tags={254: (1,), 325: (0,) * 6})
    content = tiff([(first, TILED), (first[:22, :35], level)])
    with pytest.raises(ImageError, match="6 of 6 tiles are missing"):
        _ = FileImage(written(tmp_path / "a.tif", content)).size


def test_a_large_picture_needs_a_smaller_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", str(64 * 96))
    path = pyramid(tmp_path / "a.tif", SIZES[:1])
    with pytest.raises(ImageError, match=r"96 x 130 pixels exceed the limit of 6144 .* pyramid"):
        _ = FileImage(path).size
    assert FileImage(pyramid(tmp_path / "b.tif")).size == (96, 130)


def test_a_view_larger_than_the_small_copies_is_limited_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", str(64 * 96))
    image = FileImage(pyramid(tmp_path / "a.tif"))
    assert gray(image.view((48, 60))) == 150
    with pytest.raises(ImageError, match=r"96 x 130 pixels exceed .* view of 49 x 60"):
        image.view((49, 60))


def test_a_file_of_one_large_piece_is_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "LARGEST_PIECE", 16 * 16 - 1)
    path = written(tmp_path / "a.tif", tiff(random(TILED, 45, 70), TILED))
    assert not FileImage(path).in_parts
    assert torch.equal(crops(FileImage(path))[2], read(path) / 255)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", tiff(random(TILED, 45, 70), TILED))
    image = FileImage(path)
    assert image.size == (45, 70)
    written(path, tiff(random(TILED, 45, 86), TILED))
    with pytest.raises(ImageError, match="changed while it was read"):
        image.crops(WINDOWS, (8, 8))
    path.unlink()
    with pytest.raises(ImageError, match="no such file"):
        image.crops(WINDOWS, (8, 8))


# predictions


def test_a_large_file_is_predicted_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = written(tmp_path / "a.tif", tiff(random(TILED, 90, 70), TILED))
    png = miniatures.write(tmp_path / "a.png", miniatures.pixels(90, 70))
    cut = written(tmp_path / "cut.tif", tiled.read_bytes()[:9000])
    damaged = miniatures.truncated(png, tmp_path / "cut.png")
    torch.manual_seed(0)
    model = PatchClassifier(
        scorer=ConvScorer(),
        select=TopK(3),
        encoder=ThinResNet(),
        aggregate=aggregators.max,
        classes=2,
        view=(90, 70),
        patch=(16, 16),
    )
    images = [FileImage(path) for path in (tiled, png, cut, damaged)]
    whole = list(predict(model, images, ("a", "b"), 4))
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(FileImage, "decode", None)  # nobody decodes all of it
    lazy = list(predict(model, [FileImage(image.path) for image in images], ("a", "b"), 4))
    assert [bool(each.error) for each in lazy] == [False, False, True, True]
    for found, expected in zip(lazy, whole, strict=True):
        assert found.error == expected.error
        assert found.windows == expected.windows
        assert found.probability == pytest.approx(expected.probability, abs=1e-5)


# threads and processes


def test_threads_share_an_image(tmp_path: Path) -> None:
    tiled = written(tmp_path / "a.tif", tiff(random(TILED, 90, 70), TILED))
    png = miniatures.write(tmp_path / "a.png", miniatures.pixels(90, 70))
    for path in (tiled, png):
        image, expected = FileImage(path, TileCache(3000)), crops(TensorImage(read(path)))
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _, image=image: crops(image), range(12)):
                assert all(map(torch.equal, found, expected))


class _Crops:
    """A data set of the crops of one file."""

    def __init__(self, path: Path) -> None:
        self.image = FileImage(path)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return self.image.crops(WINDOWS[:3], (8, 8))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_an_image_that_was_opened_before(tmp_path: Path, start: str) -> None:
    data = _Crops(written(tmp_path / "a.tif", tiff(random(TILED, 90, 70), TILED)))
    expected = data[0]  # opens the file and keeps tiles
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=start)
    assert all(torch.equal(crop, expected) for batch in loader for crop in batch)


def test_an_image_is_pickled_by_its_path(tmp_path: Path) -> None:
    path = miniatures.write(tmp_path / "a.png", miniatures.pixels(90, 70))
    image = FileImage(path)
    image.decode()
    content = pickle.dumps(image)
    assert len(content) < 500
    assert torch.equal(pickle.loads(content).decode(), image.decode())
