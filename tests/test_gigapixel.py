"""Files of any size from a texture: what is read of them is what they were made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.field.benchmark.large import large
from foveal.field.benchmark.needle import needle, write_images
from foveal.field.benchmark.photographs import photographs
from foveal.field.gigapixel import Paste, painted_texture, spot, write_pyramid
from foveal.images import FileImage, TensorImage

SIZE = (2496, 1800)
PASTE = Paste(spot(), top=1270, left=500)  # across tiles


def luma(pixels: Tensor) -> Tensor:
    """What JPEG keeps at full size; of colours it keeps half."""
    return torch.tensordot(torch.tensor([0.299, 0.587, 0.114]), pixels, 1)


def composed() -> TensorImage:
    texture = painted_texture()
    pixels = np.tile(texture, (3, 2, 1))[: SIZE[0], : SIZE[1]].copy()
    pixels[1270 : 1270 + 48, 500 : 500 + 48] = PASTE.pixels
    return TensorImage(torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("sparse", [False, True])
def test_crops_and_views_of_every_level_are_those_of_the_texture_and_what_is_pasted(
    tmp_path: Path, sparse: bool
) -> None:
    file = tmp_path / "a.tif"
    total = write_pyramid(file, painted_texture(), SIZE, paste=PASTE, quality=98, sparse=sparse)
    assert (file.stat().st_size < total) == sparse
    image, whole = FileImage(file), composed()
    assert image.in_parts
    assert image.size == SIZE
    for window in ([1250, 480, 1340, 570], [0, 0, 90, 90], [2446, 1750, 2536, 1840]):
        window = torch.tensor([window])
        crop, expected = (each.crops(window, (90, 90)) for each in (image, whole))
        assert (crop - expected).abs().mean() < 0.02
    for divisor in (8, 4, 2):
        size = (SIZE[0] // divisor, SIZE[1] // divisor)
        means = avg_pool2d(whole.view(SIZE)[None], divisor)[0]
        assert (luma(image.view(size)) - luma(means)).abs().mean() < 0.02
        seen = image.view(size)[0, 1282 // divisor : 1306 // divisor, 512 // divisor :]
        assert seen[:, : 24 // divisor].mean() > 0.85  # the disc is white in every level


def test_a_texture_that_cannot_be_halved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a texture of 100 px cannot be halved 3 times"):
        write_pyramid(tmp_path / "a.tif", painted_texture()[:100, :100], SIZE)


def test_what_work_costs_follows_the_view_and_the_patches_not_the_image(tmp_path: Path) -> None:
    found = large(
        megapixels=(20, 80),
        view=(128, 128),
        patch=64,
        k=2,
        repeats=1,
        memory="40MB",
        threads=1,
        folder=tmp_path,
    )
    assert str(found).count("\n| ") == 5
    for work in ("predict", "train"):
        small, big = (cost for cost in found.costs if cost.work == work)
        assert (round(small.megapixels), round(big.megapixels)) == (20, 80)
        assert small.file_bytes < big.file_bytes / 3
        assert big.resident_bytes < 1.1 * small.resident_bytes
        if work == "predict" and big.bytes_read is not None and small.bytes_read is not None:
            assert big.bytes_read < 1.5 * small.bytes_read < small.file_bytes / 3
    assert len(found.summary()["costs"]) == 4


def test_half_of_the_needle_images_hold_one_spot_where_the_boxes_say(tmp_path: Path) -> None:
    labels = write_images(tmp_path, side=1100, count=8, spot=40)
    splits = read_folder(labels)
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts if part is not None] == [4, 2, 2]
    for part in parts:
        assert part is not None
        for example in (part[index] for index in range(len(part))):
            assert example.image.size == (1100, 1100)
            is_clean = part.classes[example.label] == "clean"
            assert (example.boxes is None or len(example.boxes) == 0) == is_clean
            if not is_clean:
                assert example.boxes is not None
                (crop,) = example.image.crops(example.boxes, (40, 40))
                assert crop[0].mean() > 0.75  # red and white, which no texture is


def test_a_needle_is_looked_for_as_in_any_training(tmp_path: Path) -> None:
    found = needle(
        megapixels=1,
        images=8,
        spot=40,
        view=(64, 64),
        encoder="thin",
        minutes=0.01,
        folder=tmp_path,
    )
    assert found.test_images == 2
    assert 0 <= found.accuracy <= 1
    assert 0 <= found.hit_rate <= 1
    assert 0 < found.chance_hit_rate < 1
    assert found.view == (64, 64)
    assert str(found).count("\n| ") == 2
    assert found.summary()["task"] == "needle"
    assert (tmp_path / "run" / "model.yaml").is_file()


def test_a_needle_that_fits_into_no_image_is_refused(tmp_path: Path) -> None:
    for options in ({"images": 7}, {"spot": 5000}, {"megapixels": 0}):
        with pytest.raises(UserError, match="needle needs 8 images"):
            needle(**{"megapixels": 1, **options}, folder=tmp_path)


def test_a_photograph_is_predicted_in_less_memory_than_by_an_encoder_of_all_of_it() -> None:
    found = photographs(
        megapixels=(8,),
        encoder="test_resnet",
        view=(96, 128),
        patch=64,
        k=2,
        ways=("windows", "sliding", "whole"),
        repeats=1,
        threads=1,
    )
    assert str(found).count("\n| ") == 4
    foveal, sliding, whole = found.costs
    assert foveal.resident_bytes is not None
    assert whole.resident_bytes is not None
    assert whole.resident_bytes - foveal.resident_bytes > 8e6 * 4 * 3  # the image as floats
    assert sliding.seconds is not None
    assert {cost["way"] for cost in found.summary()["costs"]} == {"windows", "sliding", "whole"}


def test_photographs_of_no_size_are_refused() -> None:
    for options in ({"megapixels": ()}, {"k": 0}, {"ways": ()}):
        with pytest.raises(UserError, match="must be 1 or more"):
            photographs(**options)
