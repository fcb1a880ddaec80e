"""Laws of patch extraction: the dense sum over all patches unfolded, in value and in gradient.

Every test runs twice, with the compiled loops and with PyTorch's operations alone.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from foveal import topk, windows
from foveal.images import TensorImage
from foveal.patches import compiled, crop, eager, extract, resampled
from foveal.patches.soft import fastest_backend
from foveal.topk import Selection

SIZE = (6, 5)


@pytest.fixture(params=["compiled", "eager"], autouse=True, scope="module")
def loops(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled" and not compiled.AVAILABLE:
            pytest.skip("foveal was installed without a compiler")
        if request.param == "eager":
            patch.setattr("foveal.patches.fastest_backend", lambda images, device: eager)
        yield request.param


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


def sized(n: int, *sizes: tuple[int, int], seed: int = 1) -> Tensor:
    """Windows anywhere, as `scattered`, of these sizes in turn."""
    corner = scattered(n, seed=seed)[:, :2]
    side = torch.tensor([sizes[i % len(sizes)] for i in range(n)])
    return torch.cat((corner, corner + side), dim=1)


def agree(images: Tensor, places: Tensor, selection: Selection) -> None:
    """Equal to the oracle in value, and in the gradients of weights and images."""
    results = []
    for function in (fast, oracle):
        pixels = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
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
@settings(max_examples=15, deadline=None, derandomize=True)
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


# --- windows of several sizes


def test_windows_of_several_sizes_agree_with_the_resampled_crops() -> None:
    # 10 of each size for 3 slots: sums first; for 12 slots: crops first
    sizes = ((6, 5), (12, 10), (3, 9))
    for slots in (3, 12):
        agree(pictures(), sized(30, *sizes), soft(2, slots, 30, 30))
    agree(pictures(), torch.stack([sized(9, *sizes), sized(9, (8, 8))]), soft(2, 2, 5, 9))


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "HELD_AT_ONCE", 1)
    monkeypatch.setattr(resampled, "HELD_AT_ONCE", 1)
    for slots in (2, 8):
        agree(pictures(), sized(12, SIZE, (7, 9)), soft(2, slots, 12, 12))


def test_bytes_are_resampled_without_rounding() -> None:
    images = torch.randint(0, 256, (2, 3, 23, 19), generator=seeded(5), dtype=torch.uint8)
    places, selection = sized(12, (7, 9), (12, 3)), soft(2, 4, 12, 12)
    found = extract(images, places, selection, SIZE)
    truth = oracle(images.double() / 255, places, selection)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)


@pytest.mark.parametrize("window", [(3, 3, 3, 9), (3, 3, 9, 2)])
def test_a_window_without_area_is_named(window: tuple[int, ...]) -> None:
    places = torch.cat((scattered(3), torch.tensor([window])))
    with pytest.raises(ValueError, match=rf"end after they begin: got .*{window[3]}"):
        extract(pictures(), places, soft(2, 2, 4, 4), SIZE)


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


@pytest.mark.parametrize("channels", [1, 2, 13])
def test_any_number_of_channels_agrees_with_the_dense_sum(channels: int) -> None:
    images = torch.rand(2, channels, 23, 19, generator=seeded(0), dtype=torch.float64)
    agree(images, sized(12, SIZE, (9, 9)), soft(2, 3, 8, 12))


def test_any_order_of_memory_agrees_with_the_dense_sum() -> None:
    places, selection = scattered(12), soft(2, 3, 8, 12)
    wide = pictures(2, 46, 40)
    for images in (
        pictures().contiguous(memory_format=torch.channels_last),
        pictures(2, 19, 23).transpose(2, 3),
        wide[:, :, 1::2, 3:22],
        pictures(1).expand(2, 3, 23, 19),
    ):
        bytes_alike = (images * 255).byte()
        agree(images, places, selection)
        torch.testing.assert_close(
            extract(images, places, selection, SIZE), oracle(images, places, selection)
        )
        torch.testing.assert_close(
            extract(bytes_alike, places, selection, SIZE),
            oracle(bytes_alike.double() / 255, places, selection),
        )


class Asked:
    """An image that gives crops and keeps its pixels to itself."""

    def __init__(self, pixels: Tensor) -> None:
        self.inner = TensorImage(pixels)
        self.size, self.channels, self.view = self.inner.size, self.inner.channels, self.inner.view
        self.most = 0

    def crops(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        self.most = max(self.most, len(windows))
        return self.inner.crops(windows, size)


def test_an_image_that_gives_crops_is_asked_for_a_few_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eager, "HELD_AT_ONCE", 4 * 3 * 6 * 5)
    images, places, selection = pictures().float(), scattered(12), soft(2, 3, 9, 12)
    slopes = []
    for sources in (images, [Asked(image) for image in images]):
        weights = selection.weights.float().requires_grad_()
        found = extract(sources, places, Selection(selection.candidates, weights), SIZE)
        found.square().sum().backward()
        slopes.append(weights.grad)
    assert all(source.most == 4 for source in sources)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("stored", [torch.uint8, torch.bfloat16, torch.float32])
def test_half_precision_is_summed_in_single_precision(stored: torch.dtype) -> None:
    images, places, selection = pictures(), scattered(30), soft(2, 3, 30, 30)
    images = (images * 255).byte() if stored == torch.uint8 else images.to(stored)
    weights = selection.weights.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = extract(images, places, Selection(selection.candidates, weights), SIZE)
        found.sum().backward()
    assert found.dtype == (torch.float32 if stored == torch.float32 else torch.bfloat16)
    leaf = weights.detach().double().requires_grad_()
    exact = images.double() / (255 if stored == torch.uint8 else 1)
    truth = oracle(exact, places, Selection(selection.candidates, leaf))
    truth.sum().backward()
    last = 1e-6 if found.dtype == torch.float32 else 2**-8  # one rounding of a value up to 1
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=last)
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad.double(), leaf.grad, rtol=2**-8, atol=0)


# --- once differentiable; threads


def test_a_second_derivative_is_refused() -> None:
    selection = soft(2, 3, 8, 12)
    weights = selection.weights.requires_grad_()
    found = extract(pictures(), scattered(12), Selection(selection.candidates, weights), SIZE)
    (slope,) = torch.autograd.grad(found.square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_transforms_of_functions_are_refused() -> None:
    selection = soft(2, 3, 8, 12)

    def value(weights: Tensor) -> Tensor:
        return extract(
            pictures(), scattered(12), Selection(selection.candidates, weights), SIZE
        ).sum()

    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(value)(selection.weights)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_threads_change_nothing() -> None:
    # one image, parted among threads; several callers at once, as DataParallel has
    images, places, selection = pictures(1, 40, 40), scattered(30), soft(1, 3, 30, 30)
    agree(images, places, selection)
    truth = oracle(images, places, selection)
    with ThreadPoolExecutor(4) as callers:
        each = [callers.submit(fast, images, places, selection) for _ in range(20)]
    for one in each:
        torch.testing.assert_close(one.result(), truth)


def test_without_compiled_loops_it_goes_on_with_pytorch_alone(loops: str) -> None:
    if loops == "compiled":
        assert fastest_backend(pictures(), torch.device("cpu")) is compiled
    else:
        program = """
import sys
sys.modules["foveal._native"] = None
import torch
from foveal import patches, topk, windows
from foveal.patches import soft, eager
images, places = torch.rand(1, 3, 9, 9), windows.regular((9, 9), (3, 3), (3, 3))
assert soft.fastest_backend(images, images.device) is eager
selection = topk.perturbed(torch.rand(1, 9), 1, 10.0)
found = patches.extract(images, places, selection, (3, 3))
truth = torch.einsum("n,nchw->chw", selection.dense(9)[0, 0],
    torch.stack([images[0, :, t:b, l:r] for t, l, b, r in places.tolist()]))
print(torch.allclose(found[0, 0], truth))
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert ended.stdout.strip() == "True", ended.stderr


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


# --- lists of tensors, plain crops, the size of a patch


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("hard", [True, False])
def test_a_list_of_tensors_gives_what_the_stacked_tensor_gives(
    kind: torch.dtype, hard: bool
) -> None:
    images = (pictures() * (255 if kind == torch.uint8 else 1)).to(kind)
    places, looks = sized(12, SIZE, (9, 9)), soft(2, 3, 8, 12)
    looks = Selection.one_hot(looks.candidates[:, :3]) if hard else looks
    weights = looks.weights.float()
    stacked, listed = (
        extract(given, places, Selection(looks.candidates, weights), SIZE)
        for given in (images, list(images))
    )
    assert torch.equal(stacked, listed)
    assert stacked.dtype == listed.dtype


def test_gradients_reach_every_tensor_of_a_list_whatever_its_size() -> None:
    looks = soft(2, 3, 8, 12)
    places = torch.stack([sized(12, SIZE, (9, 9)), scattered(12, seed=3)])
    images = [pictures(1, *size)[0].requires_grad_() for size in ((23, 19), (9, 40))]
    found = extract(images, places, looks, SIZE)
    truth = reference.extract(images, places, looks.dense(12), SIZE)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)
    incoming = torch.randn(found.shape, generator=seeded(9), dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((value * incoming).sum(), images) for value in (found, truth)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_crop_cuts_every_window_of_every_image() -> None:
    images = [pictures(1, *size)[0] for size in ((23, 19), (9, 40))]
    for places in (sized(7, SIZE, (9, 9)), torch.stack([scattered(7), scattered(7, seed=3)])):
        found = crop([image.float() for image in images], places, SIZE)
        assert found.dtype == torch.float32
        for b, image in enumerate(images):
            for n, window in enumerate(places.expand(2, 7, 4)[b].tolist()):
                expected = reference.crop(image.float(), tuple(window), SIZE)
                torch.testing.assert_close(found[b, n], expected, rtol=0, atol=1e-6)


def test_crop_of_bytes_and_of_images_is_float32_in_0_to_1() -> None:
    images = (pictures() * 255).byte()
    stacked = crop(images, scattered(7), SIZE)
    assert stacked.dtype == torch.float32
    assert torch.equal(stacked, crop([TensorImage(image) for image in images], scattered(7), SIZE))
    assert torch.equal(stacked, crop(images.float() / 255, scattered(7), SIZE))


def test_crop_passes_gradients_to_the_images() -> None:
    images = pictures().requires_grad_()
    crop(images, scattered(7), SIZE).sum().backward()
    inside = torch.zeros(23, 19, dtype=torch.float64)
    for top, left, bottom, right in scattered(7).clamp(min=0).tolist():
        inside[top:bottom, left:right] += 1
    assert images.grad is not None
    torch.testing.assert_close(images.grad, inside.expand(2, 3, 23, 19))


def test_one_number_is_the_side_of_a_square_patch() -> None:
    images, places, looks = pictures(), scattered(12), soft(2, 3, 8, 12)
    one, other = (extract(images, places, looks, patch_size=side) for side in (7, (7, 7)))
    assert torch.equal(one, other)
    assert torch.equal(crop(images, places, 7), crop(images, places, (7, 7)))
