"""Laws of patch extraction: the dense sum over all patches unfolded, in value and in gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from foveal import topk, windows
from foveal.images import TensorImage
from foveal.patches import extract
from foveal.topk import Selection

SIZE = (6, 5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int = 2, height: int = 23, width: int = 19, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=seeded(seed), dtype=torch.float64)


def scattered(*count: int, seed: int = 1, reach: int = 30) -> Tensor:
    """Windows anywhere: within the picture, over its borders, and some beyond them."""
    corner = torch.randint(-10, reach, (*count, 2), generator=seeded(seed))
    return torch.cat((corner, corner + torch.tensor(SIZE)), dim=-1)


def soft(batch: int, slots: int, near: int, n: int, seed: int = 2) -> Selection:
    """Distinct candidates in index order, with weights that sum to one and all count."""
    order = torch.rand(batch, n, generator=seeded(seed)).argsort(dim=1)[:, :near].sort(dim=1).values
    scores = torch.randn(batch, slots, near, generator=seeded(seed), dtype=torch.float64)
    return Selection(order, scores.softmax(dim=2))


def fast(images: Tensor, places: Tensor, selection: Selection) -> Tensor:
    return extract(images, places, selection, SIZE)


def oracle(images: Tensor, places: Tensor, selection: Selection) -> Tensor:
    n = places.shape[-2]
    every = places.expand(len(images), n, 4)
    return reference.extract(list(images), every, selection.dense(n), SIZE)


def agree(images: Tensor, places: Tensor, selection: Selection) -> None:
    """Equal to the oracle in value, and in the gradients of weights and images."""
    results = []
    for function in (fast, oracle):
        pixels = images.detach().clone().requires_grad_()
        weights = selection.weights.detach().clone().requires_grad_()
        value = function(pixels, places, Selection(selection.candidates, weights))
        incoming = torch.randn(value.shape, generator=seeded(9), dtype=torch.float64)
        slopes = torch.autograd.grad(
            (value * incoming).sum(), (weights, pixels), materialize_grads=True
        )
        results.append((value, *slopes))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


# --- soft selections: few, some and all candidates in reach, so that every path is met


@pytest.mark.parametrize("near", [1, 4, 12, 30])
@pytest.mark.parametrize("grid", [(6, 5), (5, 6)])
def test_regular_grids_agree_with_the_dense_sum(grid: tuple[int, int], near: int) -> None:
    agree(pictures(), windows.regular((23, 19), grid, SIZE), soft(2, 3, near, 30))


@pytest.mark.parametrize("near", [1, 4, 30])
def test_grids_of_whole_strides_agree_with_the_dense_sum(near: int) -> None:
    for image, grid in (((24, 20), (6, 5)), ((30, 12), (10, 3)), ((40, 42), (5, 6))):
        agree(pictures(2, *image), windows.regular(image, grid, SIZE), soft(2, 3, near, 30))


def test_a_grid_of_many_candidates_all_in_reach_agrees_with_the_dense_sum() -> None:
    agree(pictures(1, 48, 48), windows.regular((48, 48), (16, 16), SIZE), soft(1, 2, 256, 256))


@pytest.mark.parametrize("near", [1, 4, 25])
def test_arbitrary_windows_agree_with_the_dense_sum(near: int) -> None:
    agree(pictures(), scattered(25), soft(2, 3, near, 25))


@pytest.mark.parametrize("near", [1, 4, 25])
def test_windows_of_each_image_agree_with_the_dense_sum(near: int) -> None:
    agree(pictures(3), scattered(3, 25), soft(3, 2, near, 25))
    grids = torch.stack([windows.regular((23, 19), (5, 5), SIZE) + shift for shift in (0, 2, -3)])
    agree(pictures(3), grids, soft(3, 2, near, 25))


def test_windows_larger_than_the_image_agree_with_the_dense_sum() -> None:
    agree(pictures(2, 4, 3), scattered(9, reach=5), soft(2, 2, 9, 9))


def test_windows_outside_the_image_read_zero() -> None:
    places = torch.tensor([[-9, -9, -3, -4], [23, 0, 29, 5], [0, 19, 6, 24], [500, 500, 506, 505]])
    assert not extract(pictures(), places, soft(2, 3, 4, 4), SIZE).any()
    assert not extract(pictures(), places, topk.hard(torch.rand(2, 4), 2), SIZE).any()


@given(
    batch=st.integers(1, 3),
    slots=st.integers(1, 4),
    near=st.integers(1, 12),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    own=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_every_size_agrees_with_the_dense_sum(
    batch: int, slots: int, near: int, height: int, width: int, own: bool, seed: int
) -> None:
    places = scattered(batch, 12, seed=seed) if own else scattered(12, seed=seed)
    agree(pictures(batch, height, width, seed), places, soft(batch, slots, near, 12, seed))


def test_candidates_repeated_with_no_weight_add_nothing() -> None:
    images, places, selection = pictures(), scattered(20), soft(2, 3, 4, 20)
    padded = Selection(
        torch.cat((selection.candidates, torch.zeros(2, 3, dtype=torch.int64)), dim=1),
        torch.cat((selection.weights, torch.zeros(2, 3, 3, dtype=torch.float64)), dim=2),
    )
    torch.testing.assert_close(
        extract(images, places, padded, SIZE), extract(images, places, selection, SIZE)
    )
    agree(images, places, padded)


def test_the_gradient_of_a_padded_weight_is_its_candidates_own() -> None:
    # a weight of zero may grow: its gradient must not be lost
    images, places = pictures(1), scattered(6)
    weights = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    value = extract(images, places, Selection(torch.tensor([[0, 3, 5]]), weights), SIZE)
    value.sum().backward()
    crops = torch.stack([reference.crop(images[0], tuple(w), SIZE) for w in places.tolist()])
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad[0, 0], crops[[0, 3, 5]].sum(dim=(1, 2, 3)))


def test_no_gradient_is_asked_of_what_needs_none() -> None:
    images, places, selection = pictures(), scattered(20), soft(2, 3, 8, 20)
    assert not extract(images, places, selection, SIZE).requires_grad
    only = Selection(selection.candidates, selection.weights.requires_grad_())
    extract(images, places, only, SIZE).sum().backward()
    assert only.weights.grad is not None


def test_a_perturbed_selection_passes_its_gradient_to_the_scores() -> None:
    images, places = pictures(), windows.regular((23, 19), (5, 5), SIZE)
    scores = torch.rand(2, 25, generator=seeded(3), dtype=torch.float64)
    leaves = [scores.clone().requires_grad_() for _ in range(2)]
    for leaf, function in zip(leaves, (fast, oracle), strict=True):
        function(images, places, topk.perturbed(leaf, 3, 0.1)).square().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=0, atol=1e-10)


# --- hard selections


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_a_hard_selection_slices_to_the_bit(kind: torch.dtype) -> None:
    images = pictures()
    images = (images * 255).to(kind) if kind == torch.uint8 else images.to(kind)
    floats = images.float() / 255 if kind == torch.uint8 else images
    for places in (windows.regular((23, 19), (6, 5), SIZE), scattered(30), scattered(2, 30)):
        weights = torch.float64 if kind == torch.float64 else torch.float32
        selection = topk.hard(torch.rand(2, 30, generator=seeded(4), dtype=weights), 4)
        found = extract(images, places, selection, SIZE)
        for b in range(2):
            for slot, number in enumerate(selection.candidates[b].tolist()):
                window = tuple(places.expand(2, 30, 4)[b, number].tolist())
                assert torch.equal(found[b, slot], reference.crop(floats[b], window, SIZE))


def test_a_hard_selection_passes_gradients_to_the_images() -> None:
    agree(pictures(), scattered(20), topk.hard(torch.rand(2, 20, dtype=torch.float64), 5))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_hard_and_soft_selections_give_the_type_of_the_images(
    kind: torch.dtype, weights: torch.dtype
) -> None:
    images, places = pictures().to(kind), scattered(12)
    looks = soft(2, 3, 5, 12)
    for chosen in (
        Selection(looks.candidates, looks.weights.to(weights)),
        topk.hard(torch.rand(2, 12, dtype=weights), 3),
    ):
        assert extract(images, places, chosen, SIZE).dtype == kind


# --- kinds of images


@pytest.mark.parametrize("near", [2, 30])
def test_bytes_are_read_as_shares_of_255(near: int) -> None:
    images = torch.randint(0, 256, (2, 3, 23, 19), generator=seeded(5), dtype=torch.uint8)
    places, selection = windows.regular((23, 19), (6, 5), SIZE), soft(2, 3, near, 30)
    for weights in (torch.float32, torch.float64):
        chosen = Selection(selection.candidates, selection.weights.to(weights))
        found = extract(images, places, chosen, SIZE)
        truth = oracle(images.double() / 255, places, selection)
        assert found.is_floating_point()
        torch.testing.assert_close(found.double(), truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("near", [2, 30])
def test_single_precision_is_close_to_double(near: int) -> None:
    images, places, selection = pictures(), scattered(30), soft(2, 3, near, 30)
    single = Selection(selection.candidates, selection.weights.float())
    found = extract(images.float(), places, single, SIZE)
    assert found.dtype == torch.float32
    truth = oracle(images, places, selection)
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("near", [2, 30])
@pytest.mark.parametrize("stored", [torch.uint8, torch.float32])
def test_a_list_of_images_of_differing_sizes_agrees_with_each_alone(
    stored: torch.dtype, near: int
) -> None:
    sizes = [(23, 19), (9, 40), (31, 8)]
    images = [
        (pictures(1, *size)[0] * (255 if stored == torch.uint8 else 1)).to(stored) for size in sizes
    ]
    floats = [i.double() / (255 if stored == torch.uint8 else 1) for i in images]
    places = torch.stack([windows.regular(size, (6, 5), SIZE) for size in sizes])
    selection = soft(3, 2, near, 30)
    weights = selection.weights.float().requires_grad_()
    found = extract(
        [TensorImage(i) for i in images], places, Selection(selection.candidates, weights), SIZE
    )
    truth = reference.extract(floats, places, selection.dense(30), SIZE)
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=1e-6)
    incoming = torch.randn(found.shape, generator=seeded(6))
    (found * incoming).sum().backward()
    dense = selection.dense(30).requires_grad_()
    (reference.extract(floats, places, dense, SIZE) * incoming).sum().backward()
    assert weights.grad is not None
    assert dense.grad is not None
    picked = dense.grad.gather(2, selection.candidates[:, None].expand(3, 2, near))
    torch.testing.assert_close(weights.grad.double(), picked, rtol=0, atol=1e-4)


def test_a_hard_look_at_a_list_slices_each_image() -> None:
    images = [pictures(1, *size)[0].float() for size in ((23, 19), (9, 40))]
    places, selection = scattered(2, 12), topk.hard(torch.rand(2, 12, generator=seeded(8)), 3)
    found = extract([TensorImage(i) for i in images], places, selection, SIZE)
    for b, image in enumerate(images):
        for slot, number in enumerate(selection.candidates[b].tolist()):
            window = tuple(places[b, number].tolist())
            assert torch.equal(found[b, slot], reference.crop(image, window, SIZE))


# --- mistakes


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("images", "places", "selection"),
    [
        (pictures()[0], scattered(9), soft(2, 3, 4, 9)),  # no batch
        (pictures(3), scattered(9), soft(2, 3, 4, 9)),  # 3 images, 2 selections
        (pictures(2), scattered(3, 9), soft(2, 3, 4, 9)),  # windows of 3 images
        (pictures(2), scattered(9)[:, :3], soft(2, 3, 4, 9)),  # windows without a right edge
        ([TensorImage(i) for i in pictures(3)], scattered(9), soft(2, 3, 4, 9)),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    images: Tensor | list[TensorImage], places: Tensor, selection: Selection
) -> None:
    with pytest.raises((ValueError, TypeError), match=r"\d"):
        extract(images, places, selection, SIZE)
