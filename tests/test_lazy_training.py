"""Training on files of which only a part is read: the same numbers as from pixels in memory."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import foveal.data.kept_images as kept_images
import miniatures
from foveal._seeding import derived_generator
from foveal.data import Example, Splits
from foveal.data.augmentation import augment, augmentations
from foveal.data.cache import Cache
from foveal.data.folder import check, read_folder
from foveal.data.loader import batches
from foveal.errors import UserError
from foveal.images import FileImage, TensorImage, file_sources, files, read, sources
from foveal.images.augmented import AugmentedImage
from foveal.images.tile_cache import TileCache
from foveal.nn.selectors import TopK
from foveal.proposals.places import single
from foveal.settings import Augmentation
from miniatures_training import RANDOM, SPLITS, TRAIN, Squares, classifier, fit, still
from test_lazy_files import LEVEL, TILED, WINDOWS, gray, pyramid, written
from tiff_files import Layout, random, tiff

CHANGES = Augmentation(shift=7, colour=True, turn=True)


@pytest.fixture
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file in tiles is read in parts, and nobody decodes one."""
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(kept_images, "read", None)
    monkeypatch.setattr(FileImage, "decode", None)


def tiled_file(path: Path, pixels: Tensor, **tags: object) -> FileImage:
    return FileImage(written(path, tiff(pixels.permute(1, 2, 0).numpy(), replace(TILED, **tags))))


# glances


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_a_pyramid_a_glance_is_a_crop(tmp_path: Path, orientation: int) -> None:
    for tile in (0, 16):
        kind = Layout(tile=tile, tags={274: (orientation,)})
        path = written(tmp_path / "a.tif", tiff(random(kind, 45, 70), kind))
        image, whole = FileImage(path), TensorImage(read(path))
        decoded = FileImage(path)
        decoded.decode()
        for window, size in itertools.product(WINDOWS.tolist(), ((8, 8), (3, 30))):
            expected = whole.crops(torch.tensor([window]), size)[0]
            found = image.glance(tuple(window), size)
            if orientation < 5:
                assert torch.equal(found, expected)
            else:  # rows and columns are rounded in the other order
                assert (found - expected).abs().max() <= 1.01 * LEVEL
            assert torch.equal(decoded.glance(tuple(window), size), expected)


def test_a_glance_comes_from_the_smallest_level_that_shows_the_window_large_enough(
    tmp_path: Path,
) -> None:
    image = FileImage(pyramid(tmp_path / "a.tif"))  # 96 x 130, 48 x 65, 24 x 32, 12 x 16
    for window, size, expected in (
        ((0, 0, 96, 130), (12, 16), 50),
        ((0, 0, 96, 130), (13, 16), 100),
        ((20, 20, 68, 84), (6, 7), 50),
        ((20, 20, 68, 84), (7, 7), 100),
        ((20, 20, 68, 84), (24, 32), 150),
        ((20, 20, 68, 84), (48, 64), 200),
        ((20, 20, 68, 84), (90, 90), 200),
    ):
        assert gray(image.glance(window, size)) == expected, (window, size)


def test_a_glance_between_the_pixels_of_a_level_looks_like_the_crop(tmp_path: Path) -> None:
    picture = miniatures.smooth(640, 400)
    half = picture.float().unflatten(1, (320, 2)).unflatten(3, (200, 2)).mean(dim=(2, 4)).round()
    pages = [
        (each.byte().permute(1, 2, 0).numpy(), replace(TILED, tags={254: (number,)}))
        for number, each in enumerate((picture, half))
    ]
    image, whole = FileImage(written(tmp_path / "a.tif", tiff(pages))), TensorImage(picture)
    for window in ((11, 7, 611, 377), (101, 33, 302, 234), (-31, -15, 609, 385)):
        inner = torch.tensor([window])
        found, expected = image.glance(window, (90, 60)), whole.crops(inner, (90, 60))[0]
        edge = 4 if window[0] < 0 else 0  # the black border may lie a fraction of a pixel beside
        assert (found - expected)[:, edge + 2 :, edge:].abs().max() <= 6 * LEVEL


def test_of_a_large_image_without_a_pyramid_a_smaller_copy_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sources, "LARGE", 32 * 4 * 20 * 4)
    picture = miniatures.smooth(320, 200)
    image = tiled_file(tmp_path / "a.tif", picture)
    expected = TensorImage(picture).crops(torch.tensor([[7, 3, 317, 193]]), (30, 20))[0]
    view = image.view((30, 20))
    assert (image.glance((7, 3, 317, 193), (30, 20)) - expected).abs().max() <= 6 * LEVEL
    with monkeypatch.context() as patch:
        patch.setattr(file_sources.TiledLevel, "region", None)
        assert (image.glance((0, 0, 320, 200), (30, 20)) - view).abs().max() <= 6 * LEVEL
        assert torch.equal(image.view((30, 20)), view)
    image.glance((7, 3, 317, 193), (300, 200))  # for which the copy is too small


def test_a_copy_that_was_forgotten_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sources, "LARGE", 32 * 4 * 20 * 4)
    path = tiled_file(tmp_path / "a.tif", miniatures.smooth(320, 200)).path
    kept, forgotten = FileImage(path), FileImage(path, TileCache(0))
    for window in ((7, 3, 317, 193), (-10, 0, 310, 200)):
        assert torch.equal(forgotten.glance(window, (30, 20)), kept.glance(window, (30, 20)))


# augmented files


def test_an_augmented_file_is_the_augmented_picture(tmp_path: Path) -> None:
    pixels = miniatures.pixels(60, 60)
    image, picture = tiled_file(tmp_path / "a.tif", pixels), TensorImage(pixels)
    for number in range(30):
        generators = (derived_generator(number), derived_generator(number))
        pair = [
            augment(source, generator, settings=CHANGES)
            for source, generator in zip((image, picture), generators, strict=True)
        ]
        lazy, whole = (sources([each], 1 + 2 * (number % 2))[0] for each in pair)
        for size in ((20, 20), (33, 11)):
            assert torch.allclose(lazy.view(size), whole.view(size), atol=2 * LEVEL), number
        windows = WINDOWS.clamp(-9, 70)
        sides = torch.tensor([12, 12])
        windows = torch.cat((windows[:, :2], windows[:, :2] + sides), dim=1)
        assert torch.allclose(
            lazy.crops(windows, (12, 12)), whole.crops(windows, (12, 12)), atol=2e-6
        )


# training


@dataclass(frozen=True)
class Files:
    """The squares as tiled files."""

    squares: Squares
    folder: Path

    @property
    def labels(self) -> Tensor:
        return self.squares.labels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.squares.classes

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, index: int) -> Example:
        path = self.folder / f"{index}.tif"
        if not path.exists():
            tiled_file(path, self.squares.images[index])
        return replace(self.squares[index], image=FileImage(path))


@pytest.mark.usefixtures("_all_are_large")
def test_the_gradient_is_that_of_pixels_in_memory(tmp_path: Path) -> None:
    data = Files(TRAIN, tmp_path)
    gradients = []
    for images in (data, TRAIN):
        model = classifier(plain=True, select=TopK(2, sigma=0.05))
        batch = next(batches(images, size=5, seed=3, steps=1, augment=augmentations(CHANGES)))
        (-model(batch.images).logits.log_softmax(dim=1)[:, 1].mean()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[0][:2])
    for lazy, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(lazy, whole, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("_all_are_large")
def test_training_on_files_read_in_parts_is_training_on_their_pixels(tmp_path: Path) -> None:
    options = still(shift=0, steps=4)
    models = []
    for train in (Files(TRAIN, tmp_path), TRAIN):
        model = classifier(plain=True)
        fit(model, Splits(train, SPLITS.validation), options, progress=False)
        models.append(model.state_dict())
    for lazy, whole in zip(*(each.values() for each in models), strict=True):
        torch.testing.assert_close(lazy, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_all_are_large")
@pytest.mark.parametrize("workers", [0, 1])
def test_files_stay_open_from_epoch_to_epoch_whoever_loads_them(
    tmp_path: Path, workers: int
) -> None:
    data = Files(replace(TRAIN, images=TRAIN.images[:4], labels=TRAIN.labels[:4]), tmp_path)
    stream = batches(
        data,
        size=4,
        seed=3,
        steps=3,
        augment=augmentations(RANDOM.augmentation),
        cache=Cache(workers=workers),
    )
    found: list[dict[int, FileImage]] = []
    for batch in stream:
        assert all(isinstance(image, AugmentedImage) for image in batch.images)
        opened = [image.source for image in batch.images]  # type: ignore[union-attr]
        found.append(dict(zip(batch.indices.tolist(), opened, strict=True)))
    assert len({id(image.cache) for each in found for image in each.values()}) == 1
    for each in found[1:]:
        assert all(each[index] is found[0][index] for index in each)


@pytest.mark.usefixtures("_all_are_large")
def test_files_read_in_parts_and_decoded_ones_share_a_batch(tmp_path: Path) -> None:
    pixels = miniatures.pixels(40, 48)
    tiled = tiled_file(tmp_path / "a.tif", pixels)

    class Mixed(Files):
        def __getitem__(self, index: int) -> Example:
            image = TensorImage(pixels) if index % 2 else tiled
            return replace(self.squares[index], image=image)

    for workers in (0, 1):
        stream = batches(
            Mixed(TRAIN, tmp_path),
            size=4,
            seed=3,
            steps=1,
            augment=augmentations(Augmentation(flip=True)),
            cache=Cache(workers=workers),
        )
        for image in next(stream).images:
            assert isinstance(image, AugmentedImage)
            assert torch.equal(image.view(image.size), (pixels / 255).flip(image.flips))


@pytest.mark.usefixtures("_all_are_large")
def test_a_large_file_is_checked_by_its_header_alone(tmp_path: Path) -> None:
    for number, label in enumerate("aabb"):
        (tmp_path / label).mkdir(exist_ok=True)
        tiled_file(tmp_path / label / f"{number}.tif", miniatures.pixels(40, 48))
    splits = read_folder(tmp_path)
    check(splits.train, decode=True)
    path = splits.train[0].image.path  # type: ignore[attr-defined]
    written(path, path.read_bytes()[:3000])
    with pytest.raises(UserError, match="lie beyond the end"):
        check(splits.train, decode=True)


@pytest.mark.usefixtures("_all_are_large")
def test_a_trunk_reads_a_large_file_piece_by_piece(tmp_path: Path) -> None:
    image = tiled_file(tmp_path / "a.tif", miniatures.pixels(40, 48))
    assert single(image, 3) is image
    grey = single(image, 1)
    assert grey.crops(WINDOWS[:1], (8, 8)).shape == (1, 1, 8, 8)
