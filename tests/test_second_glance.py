"""A second glance: the scores of a closer view, in the best regions of the first one."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foveal
import miniatures
from foveal.errors import UserError
from foveal.images import TensorImage
from foveal.images.augmented import AugmentedImage
from foveal.models import PatchClassifier, patch_classifier
from foveal.models.view_geometry import local_maxima
from foveal.nn import aggregators
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import BackboneScorer, ConvScorer
from foveal.nn.selectors import TopK

VIEW, PATCH = (96, 128), (32, 32)


def classifier(scorer: Any = None, *, view: tuple[int, int] = VIEW, **options: Any) -> Any:
    torch.manual_seed(0)
    encoder = ThinResNet(3, width=4)
    return PatchClassifier(
        scorer=ConvScorer() if scorer is None else scorer,
        select=TopK(3, sigma=0.02),
        encoder=encoder,
        aggregate=aggregators.max,
        classes=2,
        view=view,
        patch=PATCH,
        **options,
    )


def picture(height: int, width: int, seed: int = 0) -> TensorImage:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    pixels = nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return TensorImage((255 * pixels).byte())


def scorers() -> list[Any]:
    torch.manual_seed(1)
    return [ConvScorer(), BackboneScorer("test_resnet", stage=2, width=4, frozen=True)]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("closer", [2, 4])
def test_with_all_regions_a_second_glance_is_one_glance_at_the_closer_view(
    number: int, closer: int
) -> None:
    scorer = scorers()[number]
    view = (closer * VIEW[0], closer * VIEW[1])
    one = classifier(scorer, view=view).eval()
    two = classifier(scorer, glances=2, closer=closer, regions=1000).eval()
    two.load_state_dict(one.state_dict())
    assert two.second.grid == one.grid
    for size in ((2 * view[0], 2 * view[1]), (view[0], 2 * view[1])):
        with torch.no_grad():
            expected, found = (model([picture(*size)]) for model in (one, two))
        cells = two.second.choose(
            [picture(*size)],
            torch.zeros(1, math.prod(two.grid)),
            torch.ones(1, math.prod(two.grid), dtype=torch.bool),
        )
        inside = cells.inside[0]
        assert sorted(cells.cells[0][inside].tolist()) == sorted(
            one.geometry.windows([picture(*size)], torch.device("cpu"))[1].nonzero()[:, 0].tolist()
        )
        numbers = cells.cells[0][inside]
        torch.testing.assert_close(
            found.scores[0][inside], expected.scores[0][numbers], rtol=1e-3, atol=2e-4
        )
        assert torch.equal(found.windows[0][inside], expected.windows[numbers])
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-3, atol=1e-4)


def test_candidates_lie_in_the_regions_of_the_best_cells_and_in_one_of_them_only() -> None:
    model = classifier(glances=2, closer=4, regions=2)
    images = [picture(700, 900), picture(500, 1100, 1)]
    inside = model.geometry.windows(images, torch.device("cpu"))[1]
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        scores = torch.rand(2, math.prod(model.grid), generator=generator)
        regions = model.second.choose(images, scores, inside)
        for b in range(2):
            best = scores[b].masked_fill(~inside[b], -1).argmax()
            centre = model.geometry.windows(images, torch.device("cpu"))[0][b, best]
            corners = regions.windows[b][regions.inside[b]]
            middle = (centre[:2] + centre[2:]) / 2
            distance = ((corners[:, :2] + corners[:, 2:]) / 2 - middle).abs().amax(dim=1)
            assert (
                distance.min() <= 8 / model.second.closer / model.geometry.fitted(images[b].size)[0]
            )
            own = regions.cells[b][regions.inside[b]].tolist()
            assert len(set(own)) == len(own)


def test_only_the_best_regions_are_read_and_nothing_at_full_size() -> None:
    asked: list[float] = []

    @dataclass
    class Glanced:
        inner: TensorImage
        channels: int = 3

        @property
        def size(self) -> tuple[int, int]:
            return self.inner.size

        def view(self, size: tuple[int, int]) -> Tensor:
            return self.inner.view(size)

        def glance(self, window: tuple[int, ...], size: tuple[int, int]) -> Tensor:
            asked.append((window[2] - window[0]) / size[0])
            return self.inner.crops(torch.tensor([window]), size)[0]

        def crops(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
            assert len(windows) <= 3  # the patches
            return self.inner.crops(windows, size)

    model = classifier(glances=2, closer=4, regions=2).eval()
    with torch.no_grad():
        model([Glanced(picture(960, 1280))])
    assert len(asked) == 2
    assert all(abs(each - 2.5) < 0.1 for each in asked)


def test_local_maxima_are_those_of_the_whole_map() -> None:
    model = classifier(glances=2, closer=4, regions=1000)
    images = [picture(400, 520)]
    scores = torch.zeros(1, math.prod(model.grid))
    regions = model.second.choose(images, scores, torch.ones_like(scores, dtype=torch.bool))
    whole = torch.rand(1, math.prod(model.second.grid))
    found = model.second.local_maxima(whole.gather(1, regions.cells), regions, 2)
    expected = local_maxima(whole, model.second.grid, 2).gather(1, regions.cells)
    torch.testing.assert_close(found, expected)


def test_gradients_reach_scorer_and_encoder_and_are_those_of_the_closer_view() -> None:
    scorer = ConvScorer()
    one = classifier(scorer, view=(192, 256))
    two = classifier(scorer, glances=2, closer=2, regions=1000)
    two.load_state_dict(one.state_dict())
    gradients = []
    for model in (one, two):
        model.train().zero_grad()
        for norm in model.encoder.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eval()
        model([picture(384, 512)]).logits[0, 0].backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).norm() <= 1e-2 * expected.norm() + 1e-6


def test_a_thing_too_small_for_the_view_is_told_apart_by_the_second_glance() -> None:
    """Bright and dark pixels, whose mean is that of their surroundings, in one of two regions."""
    pixels = torch.full((3, 768, 1024), 128, dtype=torch.uint8)
    check = torch.tensor([[56, 200], [200, 56]]).byte()
    check = check.repeat_interleave(4, 0).repeat_interleave(4, 1)
    pixels[:, 400:416, 600:616] = check.repeat(2, 2)
    flat = torch.full_like(pixels, 128)
    model = classifier(glances=2, closer=4, regions=1000)
    plain = classifier()
    seen = []
    for each in (plain, model):
        with torch.no_grad():
            thing, nothing = (each.eval()([TensorImage(p)]).scores for p in (pixels, flat))
        seen.append(float((thing - nothing).abs().max()))
    # at a scale of 1/8 the thing is gone; at 1/2 it is not quite
    assert seen[1] > 10 * seen[0], seen


def test_one_glance_is_the_default_and_what_does_not_fit_two_is_refused() -> None:
    assert classifier().second is None
    with pytest.raises(ValueError, match="glances must be 1 or 2"):
        classifier(glances=3)
    with pytest.raises(ValueError, match="closer must be 2"):
        classifier(glances=2, closer=1)
    with pytest.raises(ValueError, match="cells that depend on a part"):
        patch_classifier(
            "test_efficientnet", scorer="test_vit", classes=2, view=VIEW, patch=32, k=3, glances=2
        )


def test_an_augmented_image_glances_as_it_crops() -> None:
    image = AugmentedImage(
        picture(200, 300), shift=(7, -9), colour=(1.1, 0.05), transpose=True, flips=(-1,)
    )
    for window in ((0, 0, 64, 80), (-20, 30, 44, 110), (150, 150, 350, 230)):
        size = (window[2] - window[0], window[3] - window[1])
        expected = image.crops(torch.tensor([window]), size)[0]
        assert torch.equal(image.glance(window, size), expected)


def test_a_run_of_two_glances_is_what_was_trained_and_cannot_be_exported(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "photos", {"ant": 4, "bee": 4}, size=(256, 320))
    options = {"encoder": "thin", "view": (64, 80), "patch": 32, "k": 3, "glances": 2, "steps": 2}
    run = foveal.train(
        tmp_path / "photos", output=tmp_path / "run", accelerator="cpu", batch=4, **options
    )
    assert isinstance(run.model, PatchClassifier)
    assert (run.model.glances, run.model.closer, run.model.second.closer) == (2, 4, 4)
    (result,) = run.predict(picture(256, 320).pixels)
    assert len(result.windows) == 3
    assert run.evaluate().n > 0
    with pytest.raises(UserError, match="two glances cannot be exported"):
        run.export(tmp_path / "model.pt2", size=(256, 320))
