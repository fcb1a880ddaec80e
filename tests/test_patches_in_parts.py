"""Patches of images that are read crop by crop: only those in reach, and the same gradient."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal import topk, windows
from foveal.images import TensorImage
from foveal.patches import extract
from foveal.topk import Selection

SIZE = (8, 8)


@dataclass
class Counted:
    """An image that is no tensor, and the windows that were asked for."""

    whole: TensorImage
    asked: list[list[int]] = field(default_factory=list)
    channels: int = 3

    @property
    def size(self) -> tuple[int, int]:
        return self.whole.size

    def view(self, size: tuple[int, int]) -> Tensor:
        return self.whole.view(size)

    def crops(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        self.asked += windows.tolist()
        return self.whole.crops(windows, size)


def picture(seed: int) -> TensorImage:
    generator = torch.Generator().manual_seed(seed)
    return TensorImage(torch.randint(256, (3, 90, 120), generator=generator, dtype=torch.uint8))


def looked(images: list[Counted] | list[TensorImage], scores: Tensor, sigma: float, k: int):
    """Patches, and the gradient of a function of them in the scores."""
    scores = scores.clone().requires_grad_()
    grid = (40, scores.shape[1] // 40)
    places = windows.regular(images[0].size, grid, SIZE)
    patches = extract(images, places, topk.perturbed(scores, k, sigma), SIZE)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(patches.shape, generator=generator)
    (patches * weights).sum().backward()
    return patches.detach(), scores.grad


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**30), sigma=st.sampled_from([0.01, 0.02, 0.05, 0.2]), k=st.integers(1, 6)
)
def test_what_is_read_crop_by_crop_gives_the_patches_and_gradients_of_pixels_in_memory(
    seed: int, sigma: float, k: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 1600, generator=generator).sigmoid()
    whole = [picture(seed), picture(seed + 1)]
    patches, gradient = looked(whole, scores, sigma, k)
    lazy_patches, lazy_gradient = looked([Counted(each) for each in whole], scores, sigma, k)
    assert (lazy_patches - patches).abs().max() < 0.001 / 255
    assert (lazy_gradient - gradient).norm() <= 1e-4 * gradient.norm()


def test_only_crops_in_reach_are_read_once_a_pass_and_in_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 1600, generator=generator)
    scores[0, :3] += 40
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    for k, sigma, most in ((3, 0.02, 3), (4, 0.001, 40), (5, 0.02, 1200)):
        image = Counted(picture(0))
        looked([image], scores, sigma, k)
        selection = topk.perturbed(scores, k, sigma)
        assert len(image.asked) % 2 == 0
        forward = image.asked[: len(image.asked) // 2]
        assert image.asked[len(forward) :] == forward
        assert len({tuple(each) for each in forward}) == len(forward) <= most
        places = windows.regular(image.size, (40, 40), SIZE)[selection.candidates[0]]
        needed = places[selection.weights[0].amax(dim=0) > 1e-6].tolist()
        assert [each for each in places.tolist() if each in forward] == forward
        assert all(each in forward for each in needed)


def test_candidates_without_weight_are_not_read() -> None:
    """Those that pad a short row, for instance."""
    image = Counted(picture(0))
    places = windows.regular(image.size, (5, 5), SIZE)
    weights = torch.zeros(1, 2, 25)
    weights[0, 0, 7] = weights[0, 1, 19] = 1.0
    weights.requires_grad_()
    selection = Selection(torch.arange(25)[None], weights)
    extract([image], places, selection, SIZE).sum().backward()
    assert image.asked == 2 * places[[7, 19]].tolist()  # once a pass


def test_a_slot_without_any_weight_is_black() -> None:
    image = Counted(picture(0))
    places = windows.regular(image.size, (5, 5), SIZE)
    weights = torch.zeros(1, 2, 25, requires_grad=True)
    patches = extract([image], places, Selection(torch.arange(25)[None], weights), SIZE)
    patches.sum().backward()
    assert not patches.any()
    assert weights.grad is not None
    assert weights.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_what_is_left_out_follows_the_scale_of_the_weights(scale: float) -> None:
    """Attention sampling weighs patches by 1 / (K p): any number."""
    weights = torch.tensor([0.5, 0.4, 0.0999, 1e-4, 4e-7, 3e-7])
    image = Counted(picture(0))
    places = windows.regular(image.size, (2, 3), SIZE)
    selection = Selection(torch.arange(6)[None], (scale * weights)[None, None])
    extract([image], places, selection, SIZE)
    assert image.asked == places[:4].tolist()
