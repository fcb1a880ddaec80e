"""Laws of batching: everything is a function of (seed, step), and no image is lost."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch import Tensor

from foveal._seeding import derived_generator, derived_seed
from foveal.data import Example, Splits
from foveal.data.augmentation import augmentations
from foveal.data.cache import Cache, decoded_bytes, keep_on_device, plan_cache
from foveal.data.kept_images import KeptImages, pixels
from foveal.data.loader import Pictures, batches, stack
from foveal.errors import UserError
from foveal.images import FileImage, Image, TensorImage, sources
from foveal.images.augmented import AugmentedImage
from foveal.settings import Augmentation, Hardware
from pretend_device import DEVICE, machine

AUGMENT = augmentations(Augmentation(shift=3, colour=True, flip=True))


@dataclass(frozen=True)
class Listed:
    """A data set of the images it is given."""

    images: tuple[Image, ...]
    classes: tuple[str, ...] = ("a", "b")

    @property
    def labels(self) -> Tensor:
        return torch.arange(len(self.images)) % 2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        return Example(self.images[index], index % 2, f"{index}.png")


def noise(n: int, size: tuple[int, int] = (8, 10)) -> Listed:
    pixels = torch.randint(256, (n, 3, *size), generator=derived_generator(0), dtype=torch.uint8)
    return Listed(tuple(TensorImage(p) for p in pixels))


def written(folder: Path, n: int) -> Listed:
    images = []
    for i, example in enumerate(noise(n)[i] for i in range(n)):
        file = folder / f"{i}.png"
        array = example.image.pixels.permute(1, 2, 0).numpy()  # type: ignore[attr-defined]
        Pillow.fromarray(array).save(file)
        images.append(FileImage(file))
    return Listed(tuple(images))


def shown(images: Pictures) -> Tensor:
    """Images of one size, as a model sees them."""
    return torch.stack([image.view(image.size) for image in sources(images, 3)])


def same(left: list, right: list) -> bool:
    return len(left) == len(right) and all(
        torch.equal(shown(a.images), shown(b.images))
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.indices, b.indices)
        for a, b in zip(left, right, strict=True)
    )


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), size=st.integers(1, 9), epochs=st.integers(1, 3))
def test_every_image_is_seen_equally_often_whatever_the_size(n: int, size: int, epochs: int):
    dataset = noise(n, (2, 2))
    seen = torch.cat([b.indices for b in batches(dataset, size=size, seed=1, steps=epochs * n)])
    assert (torch.bincount(seen, minlength=n) == epochs * size).all()
    for epoch in seen.split(n):
        assert epoch.sort().values.tolist() == list(range(n))


def test_epochs_differ_and_seeds_differ():
    def order(seed: int) -> Tensor:
        return torch.cat([b.indices for b in batches(noise(20), size=20, seed=seed, steps=2)])

    first, second = order(1).split(20)
    assert not torch.equal(first, second)
    assert not torch.equal(order(1), order(2))


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 7), size=st.integers(1, 6))
def test_resumed_batches_are_those_of_an_uninterrupted_run(first: int, size: int):
    def run(first: int) -> list:
        return list(batches(noise(5), size=size, seed=3, steps=7, first=first, augment=AUGMENT))

    assert same(run(0)[first:], run(first))


def test_workers_change_nothing(tmp_path: Path):
    dataset = written(tmp_path, 5)
    runs = [
        list(batches(dataset, size=4, seed=3, steps=4, augment=AUGMENT, cache=cache))
        for cache in (Cache(), Cache(workers=1), Cache(workers=2))
    ]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


@pytest.mark.parametrize("sizes", [((8, 10), (8, 10)), ((8, 10), (5, 5))])
def test_a_worker_hands_over_copies_and_not_what_it_keeps(sizes: tuple[tuple[int, int], ...]):
    """Or every image that it keeps would hold a file open."""
    images = tuple(noise(1, size)[0].image for size in sizes)
    runs = [
        next(
            batches(
                Listed(images),
                size=2,
                seed=0,
                steps=1,
                augment=AUGMENT,
                cache=Cache(workers=workers),
            )
        )
        for workers in (0, 1)
    ]
    for image, other in zip(*(run.images for run in runs), strict=True):
        assert isinstance(image, AugmentedImage)
        assert torch.equal(image.view(image.size), other.view(other.size))
    assert not any(image.pixels.is_shared() for image in images)  # type: ignore[attr-defined]
    storages = {other.source.pixels.untyped_storage().data_ptr() for other in runs[1].images}
    assert len(storages) == len({*sizes})


@pytest.mark.parametrize("memory", [0, 500, 2**30])
def test_kept_files_change_nothing(tmp_path: Path, memory: int):
    kept = batches(
        written(tmp_path, 5), size=4, seed=3, steps=4, augment=AUGMENT, cache=Cache(memory=memory)
    )
    assert same(list(kept), list(batches(noise(5), size=4, seed=3, steps=4, augment=AUGMENT)))


@pytest.mark.parametrize("memory", [0, 500, 2**30])
@pytest.mark.parametrize("files", [True, False], ids=["files", "tensors"])
def test_images_kept_on_a_device_are_those_that_are_streamed(
    tmp_path: Path, memory: int, files: bool
):
    data = written(tmp_path, 5) if files else noise(5)
    for device, threads in ((torch.device("cpu"), 3), (DEVICE, 0)):
        for augment in ((), AUGMENT):
            options = {"size": 4, "seed": 3, "steps": 4, "augment": augment}
            streamed = list(batches(noise(5), **options))  # type: ignore[arg-type]
            with machine():
                cache = Cache("device", memory, device=device, threads=threads)
                kept = list(batches(data, cache=cache, **options))  # type: ignore[arg-type]
                there = [each.device for batch in kept for each in pixels_of(batch.images)]
                assert memory < 2**20 or set(there) == {device}
                here = [batch._replace(images=to_cpu(batch.images)) for batch in kept]
            assert same(here, streamed)


def pixels_of(images: Pictures) -> list[Tensor]:
    sources = [each.source if isinstance(each, AugmentedImage) else each for each in images]
    return [each.pixels if isinstance(each, TensorImage) else each for each in sources]  # type: ignore[misc]


def to_cpu(images: Pictures) -> Pictures:
    if isinstance(images, Tensor):
        return images.cpu()
    return [each.to(torch.device("cpu")) for each in images]  # type: ignore[union-attr]


def test_an_image_is_moved_to_the_device_once():
    with machine():
        kept = KeptImages(3 * 8 * 10, DEVICE)
        first, second = (noise(2)[i].image for i in range(2))
        assert kept.pixels(0, first) is kept.pixels(0, first)
        assert kept.free == 0
        assert kept.pixels(1, second).device == torch.device("cpu")  # type: ignore[union-attr]


def test_files_kept_on_a_device_are_the_same_data_set(tmp_path: Path):
    files, cpu = written(tmp_path, 5), torch.device("cpu")
    splits = Splits(files, noise(3))
    kept = keep_on_device(splits, Hardware(cache="device"), cpu)
    for part, other in ((kept.train, splits.train), (kept.validation, splits.validation)):
        assert (len(part), part.classes) == (len(other), other.classes)
        assert torch.equal(part.labels, other.labels)
        for i in range(len(part)):
            one, two = part[i].image, other[i].image
            assert isinstance(one, TensorImage)
            assert torch.equal(one.pixels, pixels(two))
    first = kept.train[0].image
    (tmp_path / "0.png").unlink()
    assert kept.train[0].image.pixels is first.pixels  # type: ignore[attr-defined]
    assert keep_on_device(splits, Hardware(), cpu) is splits


@pytest.mark.parametrize("place", ["auto", "device", "memory", "none"])
def test_on_the_cpu_its_own_process_decodes_and_what_is_asked_for_is_kept(place: Any):
    cache = plan_cache(noise(5), Hardware(cache=place), torch.device("cpu"))
    assert (cache.workers, cache.threads, cache.pinned) == (0, 0, False)
    assert cache.place == ("memory" if place == "auto" else place)
    assert (cache.memory > 0) == (place != "none")
    assert plan_cache(noise(5), Hardware(workers=3), torch.device("cpu")).workers == 3


def test_the_size_of_all_images_is_estimated_from_their_headers(tmp_path: Path):
    assert decoded_bytes(noise(50)) == decoded_bytes(written(tmp_path, 50)) == 50 * 3 * 8 * 10


@settings(max_examples=30, deadline=None)
@given(sides=st.lists(st.integers(1, 12), min_size=1, max_size=8), memory=st.integers(0, 900))
def test_the_memory_budget_counts_the_images_kept_and_what_fits_is_kept(
    sides: list[int], memory: int
):
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.png" for i in range(len(sides))]
        for file, side in zip(files, sides, strict=True):
            Pillow.fromarray(np.zeros((side, side, 3), dtype=np.uint8)).save(file)
        cache = KeptImages(memory)
        shown = [cache.pixels(i, FileImage(file)) for i, file in enumerate(files)]
        free, fits = memory, []
        for side in sides:
            fits.append(3 * side**2 <= free)
            free -= 3 * side**2 * fits[-1]
        assert cache.free == free
        again = [cache.pixels(i, FileImage(file)) for i, file in enumerate(files)]
    assert [a is b for a, b in zip(shown, again, strict=True)] == fits
    assert cache.free == free


def test_ranks_share_out_the_batch_of_a_single_device():
    whole = list(batches(noise(7), size=6, seed=3, steps=3, augment=AUGMENT))
    parts = [
        list(batches(noise(7), size=6, seed=3, steps=3, augment=AUGMENT, rank=r, world=3))
        for r in range(3)
    ]
    for step, batch in enumerate(whole):
        images = torch.stack([shown(p[step].images) for p in parts], dim=1).flatten(0, 1)
        assert torch.equal(images, shown(batch.images))


def test_a_batch_that_does_not_divide_over_the_devices_is_refused():
    with pytest.raises(UserError, match="3 devices: got 4 images"):
        next(batches(noise(7), size=4, seed=3, steps=3, world=3))


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="0 images"):
        next(batches(Listed(()), size=4, seed=3, steps=3))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, workers: int):
    dataset = written(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"1\.png") as error:
        list(batches(dataset, size=3, seed=3, steps=1, cache=Cache(workers=workers)))
    assert "\n" not in str(error.value)


def test_images_of_differing_sizes_come_as_a_list():
    images = (noise(1)[0].image, noise(1, (5, 5))[0].image)
    batch = next(batches(replace(noise(1), images=images), size=2, seed=0, steps=1))
    assert isinstance(batch.images, list)
    assert sorted(i.shape for i in batch.images) == [(3, 5, 5), (3, 8, 10)]


def test_labels_come_in_one_tensor_whether_classes_or_sets():
    @dataclass(frozen=True)
    class Sets(Listed):
        @property
        def labels(self) -> Tensor:
            return torch.eye(3, dtype=torch.bool)[torch.arange(len(self)) % 3]

    classes, sets = (
        next(batches(data, size=4, seed=0, steps=1)) for data in (noise(5), Sets(noise(5).images))
    )
    assert torch.equal(classes.labels, classes.indices % 2)
    assert torch.equal(sets.labels, torch.eye(3, dtype=torch.bool)[sets.indices % 3])


def test_stacked_images_keep_their_order():
    images = [e.image.pixels for e in (noise(3)[i] for i in range(3))]  # type: ignore[attr-defined]
    assert torch.equal(stack(images)[1], images[1])  # type: ignore[index]


def test_numbers_of_neighbouring_paths_are_unrelated():
    paths = itertools.product(range(9), range(2), range(9))
    numbers = {derived_seed(*path) for path in paths}
    assert len(numbers) == 162
    assert abs(sum(n % 2 for n in numbers) / 162 - 0.5) < 0.12
