"""Files of any size from a texture: what is read of them is what they were made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from foveal.field.benchmark.large import large
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
