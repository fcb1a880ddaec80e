"""Cells that show nothing are not proposed: pixels without data, plain background."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from foveal.images import TensorImage
from foveal.models import PatchClassifier
from foveal.nn import aggregators
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import BackboneScorer
from foveal.nn.selectors import TopK
from foveal.phases.preparing import trunk_of_scorer
from foveal.proposals import Proposals, Trunk, mine
from foveal.settings import Mask
from test_empty_windows import geotiff
from test_proposals import PATCH, SIZE, painted, small_trunk

MAGENTA = (1.0, 0.0, 1.0)
HOLE = (slice(None), slice(20, None), slice(70, None))


def with_holes(colour: tuple[float, ...] = MAGENTA) -> tuple[list[Tensor], list[str]]:
    """Painted images, each with a corner of one colour; every label is as frequent there."""
    data = painted(24, seed=5)
    for image in data.images:
        image[HOLE] = (torch.tensor(colour) * 255).byte()[:, None, None]
    return data.images, data.labels


def sources(images: list[Tensor], nodata: tuple[float, ...] | None) -> list[TensorImage]:
    return [TensorImage(image, nodata) for image in images]


def middles_in_hole(windows: list[Tensor]) -> int:
    """How many windows have their middle in the hole, a cell from its edge."""
    middles = (torch.cat(windows).view(-1, 2, 2).float().mean(dim=1) - torch.tensor([20, 70])).T
    return int(((middles[0] > 4) & (middles[1] > 4)).sum())


def proposed(found: Proposals, images: list[TensorImage], k: int = 4) -> list[Tensor]:
    return [found.windows(image, k) for image in images] + [some[:k] for some in found.mined]


@pytest.mark.parametrize("pixels", [2**20, 1])
@pytest.mark.parametrize("margin", [0, 2])
def test_cells_of_pieces_that_show_nothing(pixels: int, margin: int) -> None:
    images, _ = with_holes()
    trunk = small_trunk(pixels=pixels).masked("nodata")
    source = sources(images, MAGENTA)[0]
    found = torch.zeros(trunk.grid(SIZE), dtype=torch.bool)
    for piece in trunk.pieces(source, margin):
        if piece.empty is not None:
            assert piece.empty.shape == piece.features.shape[1:]
            found[piece.place] = piece.empty[piece.core]
    hole = torch.zeros(SIZE, dtype=torch.bool)
    hole[HOLE[1:]] = True
    blocks = hole.unfold(0, trunk.stride, trunk.stride).unfold(1, trunk.stride, trunk.stride)
    assert torch.equal(found, blocks.all(dim=3).all(dim=2))
    assert 0 < found.float().mean() < 0.5


def test_what_has_no_data_is_not_proposed() -> None:
    images, labels = with_holes()
    trunk = small_trunk()
    some = sources(images, MAGENTA)
    masked = mine(some, labels, trunk=trunk.masked("nodata"), patch=PATCH)
    assert middles_in_hole(proposed(masked, some)) == 0
    # the hole's edge, its middle or both are rare in the sample: without a mask they are proposed
    plain = mine(some, labels, trunk=trunk, patch=PATCH)
    assert middles_in_hole(proposed(plain, some, k=12)) > 0
    for each in (some[0], some[1]):
        evidence = masked.evidence(each)
        in_hole = evidence[6:, 20:]
        assert in_hole.max() < evidence[:4].min()


def test_background_is_not_proposed_if_it_is_masked() -> None:
    images, labels = with_holes((1.0, 1.0, 1.0))
    some = sources(images, None)
    found = mine(some, labels, trunk=small_trunk().masked("background"), patch=PATCH)
    assert middles_in_hole(proposed(found, some)) == 0


@pytest.mark.parametrize("nodata", [None, (0.0, 0.25, 0.0)])
def test_a_mask_changes_nothing_where_all_is_shown(nodata: tuple[float, ...] | None) -> None:
    images, labels = with_holes()
    some = sources(images, nodata)
    masks: tuple[Mask, ...] = ("none", "nodata")
    found = [mine(some, labels, trunk=small_trunk().masked(mask), patch=PATCH) for mask in masks]
    for plain, masked in zip(*(proposed(each, some) for each in found), strict=True):
        assert torch.equal(plain, masked)


def test_images_that_show_nothing_at_all() -> None:
    images, labels = with_holes()
    images[0][:] = torch.tensor([255, 0, 255], dtype=torch.uint8)[:, None, None]
    some = sources(images, MAGENTA)
    found = mine(some, labels, trunk=small_trunk().masked("nodata"), patch=PATCH)
    assert found.windows(some[0], 3).shape == (3, 4)
    blank = [TensorImage(torch.zeros(3, *SIZE, dtype=torch.uint8), (0.0, 0.0, 0.0))] * 6
    found = mine(blank, ["a", "b"] * 3, trunk=small_trunk().masked("nodata"), patch=PATCH)
    assert found.windows(blank[0], 3).shape == (3, 4)


def test_a_file_tells_what_has_no_data(tmp_path: Path) -> None:
    images, labels = with_holes((0.0, 0.0, 0.0))
    files = [geotiff(tmp_path / f"{number}.tif", each, "0") for number, each in enumerate(images)]
    found = mine(files, labels, trunk=small_trunk().masked("nodata"), patch=PATCH)
    assert middles_in_hole([found.windows(file, 4) for file in files]) == 0
    assert middles_in_hole([some[:4] for some in found.mined]) == 0


@pytest.mark.parametrize("mask", ["none", "nodata", "background"])
def test_training_masks_what_the_model_masks(mask: Mask) -> None:
    torch.manual_seed(0)
    scorer = BackboneScorer("test_resnet", stage=1, frozen=True)
    model = PatchClassifier(
        scorer=scorer,
        select=TopK(2, sigma=0.1),
        encoder=ThinResNet(3, width=8),
        aggregate=aggregators.max,
        classes=2,
        view=(48, 64),
        patch=(16, 16),
        mask=mask,
    )
    trunk = trunk_of_scorer(model)
    assert isinstance(trunk, Trunk)
    assert (trunk.mask, trunk.reduced(1).mask) == (mask, mask)
