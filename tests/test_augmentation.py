"""Laws of augmentation: a view and crops of a changed image are those of a changed copy."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Generator, Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from foveal._seeding import derived_generator
from foveal.data.augmentation import augment, augmentations
from foveal.images import TensorImage, sources
from foveal.images.augmented import AugmentedImage
from foveal.models import WholeImage
from foveal.patches import compiled, eager, extract
from foveal.settings import Augmentation
from foveal.topk import Selection

FLOAT, BYTES = torch.float32, torch.uint8
PATCH = (6, 4)


@pytest.fixture(params=["compiled", "eager"], scope="module")
def loops(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled" and not compiled.AVAILABLE:
            pytest.skip("foveal was installed without a compiler")
        if request.param == "eager":
            patch.setattr("foveal.patches.fastest_backend", lambda images, device: eager)
        yield


@dataclass(frozen=True)
class Tiled:
    """An image that shows its pixels in parts only."""

    whole: TensorImage

    @property
    def size(self) -> tuple[int, int]:
        return self.whole.size

    @property
    def channels(self) -> int:
        return self.whole.channels

    def view(self, size: tuple[int, int]) -> Tensor:
        return self.whole.view(size)

    def crops(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        return self.whole.crops(windows, size)


def picture(size: tuple[int, int], dtype: torch.dtype, shades: float = 1.0) -> Tensor:
    """Noise around medium gray, with the strides of a decoded file."""
    pixels = torch.rand(*size, 3, generator=derived_generator(0))
    pixels = (0.5 + shades * (pixels - 0.5)).permute(2, 0, 1)
    return (255 * pixels).round().to(BYTES) if dtype == BYTES else pixels


def changed_copy(
    pixels: Tensor, options: Augmentation, generator: Generator, *, clipped: bool
) -> Tensor:
    """A copy, floats in [0, 1], changed one thing after the other."""
    pixels = pixels / 255 if pixels.dtype == BYTES else pixels
    height, width = pixels.shape[1:]
    if options.shift or options.shift_fraction:
        down, right = (
            int(torch.randint(-m, m + 1, (), generator=generator))
            for side in (height, width)
            for m in [min(options.shift + int(options.shift_fraction * side), side - 1)]
        )
        pixels = pad(pixels, (right, -right, down, -down))
    if options.colour:
        chance, a, b = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        if chance < 0.8:
            pixels = pixels * (0.8 + 0.4 * a) + (0.2 * b - 0.1)
            pixels = pixels.clamp(0, 1) if clipped else pixels
    if options.flip and not options.turn and torch.rand((), generator=generator) < 0.5:
        pixels = pixels.flip(2)
    if options.turn:
        coins = [height == width and bool(torch.rand((), generator=generator) < 0.5)]
        coins += [bool(torch.rand((), generator=generator) < 0.5) for _ in range(2)]
        pixels = pixels.transpose(1, 2) if coins[0] else pixels
        pixels = pixels.flip(1) if coins[1] else pixels
        pixels = pixels.flip(2) if coins[2] else pixels
    return pixels.contiguous()


def somewhere(size: tuple[int, int], count: int, side: tuple[int, int], seed: int) -> Tensor:
    """Windows within the image, over its borders, and beyond them."""
    low, high = torch.tensor(side), torch.tensor(size) + torch.tensor(side)
    share = torch.rand(count, 2, generator=derived_generator(seed))
    corner = (share * (high + 4)).long() - low - 2
    return torch.cat((corner, corner + low), dim=1)


SIZES = st.one_of(
    st.tuples(st.integers(2, 30), st.integers(2, 30)), st.integers(2, 30).map(lambda s: (s, s))
)
CHANGES = st.fixed_dictionaries(
    {
        "shift": st.integers(0, 12),
        "shift_fraction": st.sampled_from([0.0, 0.1]),
        "flip": st.booleans(),
        "turn": st.booleans(),
    }
)
CASES = {
    "size": SIZES,
    "dtype": st.sampled_from([BYTES, FLOAT]),
    "options": CHANGES,
    "seed": st.integers(0, 1000),
    "tiled": st.booleans(),
}


def pair(
    size: tuple[int, int],
    dtype: torch.dtype,
    options: Augmentation,
    seed: int,
    tiled: bool = False,
    shades: float = 1.0,
) -> tuple[AugmentedImage, TensorImage]:
    """An image that is changed when it is looked at, and the changed copy."""
    pixels = picture(size, dtype, shades)
    given = Tiled(TensorImage(pixels)) if tiled else pixels
    clipped = tiled or dtype == BYTES
    copy = changed_copy(pixels, options, derived_generator(seed), clipped=clipped)
    return augment(given, derived_generator(seed), settings=options), TensorImage(copy)


@examples(max_examples=50, deadline=None)
@given(**CASES)
def test_crops_of_moved_mirrored_and_turned_images_are_those_of_a_copy_to_the_bit(
    size: tuple[int, int], dtype: torch.dtype, options: dict[str, Any], seed: int, tiled: bool
):
    lazy, copy = pair(size, dtype, Augmentation(**options), seed, tiled)
    windows = somewhere(lazy.size, 9, PATCH, seed)
    assert (lazy.size, lazy.channels) == (copy.size, copy.channels)
    assert torch.equal(lazy.crops(windows, PATCH), copy.crops(windows, PATCH))


@examples(max_examples=40, deadline=None)
@given(**CASES)
def test_colours_of_crops_are_those_of_a_copy(
    size: tuple[int, int], dtype: torch.dtype, options: dict[str, Any], seed: int, tiled: bool
):
    lazy, copy = pair(size, dtype, Augmentation(**options, colour=True), seed, tiled)
    windows = somewhere(lazy.size, 9, PATCH, seed)
    torch.testing.assert_close(lazy.crops(windows, PATCH), copy.crops(windows, PATCH))


@examples(max_examples=40, deadline=None)
@given(**CASES, view=SIZES, colour=st.booleans())
def test_a_view_is_that_of_a_copy_where_no_colour_is_clipped(
    size: tuple[int, int],
    dtype: torch.dtype,
    options: dict[str, Any],
    seed: int,
    tiled: bool,
    view: tuple[int, int],
    colour: bool,
):
    changes = Augmentation(**options)
    if colour:  # zeros that come in may be clipped
        changes = replace(changes, shift=0, shift_fraction=0.0, colour=True)
    lazy, copy = pair(size, dtype, changes, seed, tiled, shades=0.5)
    # torch rounds bytes once along the rows and once along the columns; a colour scales that
    rounding = 1.2 * 1.05 / 255 if dtype == BYTES else 1e-5
    assert (lazy.view(view) - copy.view(view)).abs().max() <= rounding


@examples(max_examples=40, deadline=None)
@given(
    sizes=st.lists(SIZES, min_size=1, max_size=3),
    dtype=st.sampled_from([BYTES, FLOAT]),
    options=CHANGES,
    colour=st.booleans(),
    seed=st.integers(0, 1000),
    sides=st.sampled_from([3 * [PATCH], 3 * [(9, 5)], [PATCH, (9, 5), (3, 8)]]),
)
def test_soft_patches_and_their_gradient_are_those_of_copies(
    loops: None,
    sizes: list[tuple[int, int]],
    dtype: torch.dtype,
    options: dict[str, Any],
    colour: bool,
    seed: int,
    sides: list[tuple[int, int]],
):
    changes = Augmentation(**options, colour=colour)
    pairs = [pair(size, dtype, changes, seed + i) for i, size in enumerate(sizes)]
    each = [[somewhere(lazy.size, 4, side, seed) for side in sides] for lazy, _ in pairs]
    windows = torch.stack([torch.cat(some) for some in each])  # (B, 12, 4)
    scores = torch.randn(len(pairs), 2, 12, generator=derived_generator(seed))
    numbers = torch.arange(12).expand(len(pairs), 12)
    incoming = torch.randn(len(pairs), 2, 3, *PATCH, generator=derived_generator(seed, 1))
    found = []
    for images in zip(*pairs, strict=True):
        weights = scores.softmax(dim=2).requires_grad_()
        patches = extract(images, windows, Selection(numbers, weights), PATCH)
        patches.backward(incoming)
        found.append((patches.detach(), weights.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)  # sums of floats


def test_models_of_the_whole_image_and_of_gray_images_see_the_change():
    class Pixels(nn.Module):
        features = 3

        def forward(self, images: Tensor) -> Tensor:
            return adaptive_avg_pool2d(images, 1).flatten(1)

    options = Augmentation(shift=4, colour=True, flip=True, turn=True)
    model = WholeImage(encoder=Pixels(), classes=2, size=(9, 7))
    for seed in range(8):
        lazy, copy = pair((20, 20), FLOAT, options, seed)
        torch.testing.assert_close(model([lazy]).patches, model([copy]).patches)
        gray, gray_copy = sources([lazy], 1)[0], sources([copy], 1)[0]
        torch.testing.assert_close(gray.view((20, 20)), gray_copy.view((20, 20)))


def test_nothing_is_copied():
    pixels = picture((20, 30), BYTES)
    options = Augmentation(shift=4, colour=True, flip=True, turn=True)
    for seed in range(8):
        lazy = augment(pixels, derived_generator(seed), settings=options)
        assert isinstance(lazy.source, TensorImage)
        assert lazy.source.pixels is pixels


def test_nothing_to_change_needs_no_transform():
    assert augmentations(Augmentation()) == ()
    for options in ({"shift": 1}, {"shift_fraction": 0.1}, {"colour": True}, {"turn": True}):
        assert len(augmentations(Augmentation(**options))) == 1


def drawn(count: int, size: tuple[int, int], **options: object) -> list[AugmentedImage]:
    image, settings = TensorImage(torch.zeros(1, *size)), Augmentation(**options)  # type: ignore[arg-type]
    return [augment(image, derived_generator(s), settings=settings) for s in range(count)]


def test_shifts_reach_every_distance_and_follow_the_sides_of_the_image():
    assert {i.shift for i in drawn(300, (9, 9), shift=2)} == {
        (y, x) for y in range(-2, 3) for x in range(-2, 3)
    }
    rows, columns = zip(*(i.shift for i in drawn(300, (20, 50), shift_fraction=0.1)), strict=True)
    assert ({*rows}, {*columns}) == ({*range(-2, 3)}, {*range(-5, 6)})


def test_colours_lie_in_their_ranges_and_change_four_images_of_five():
    colours = [image.colour for image in drawn(1000, (9, 9), colour=True)]
    changed = [colour for colour in colours if colour != (1.0, 0.0)]
    assert abs(len(changed) / 1000 - 0.8) < 0.04  # three standard deviations
    scales, offsets = zip(*changed, strict=True)
    assert 0.8 <= min(scales) < 0.82 < 1.18 < max(scales) <= 1.2
    assert -0.1 <= min(offsets) < -0.09 < 0.09 < max(offsets) <= 0.1


@pytest.mark.parametrize(
    ("size", "options", "kinds"),
    [((8, 9), {"flip": True}, 2), ((8, 9), {"turn": True}, 4), ((8, 8), {"turn": True}, 8)],
)
def test_every_turn_and_reflection_is_equally_likely(
    size: tuple[int, int], options: dict[str, bool], kinds: int
):
    seen = [(image.transpose, image.flips) for image in drawn(1600, size, **options)]
    assert len({*seen}) == kinds
    share = 1 / kinds
    for each in {*seen}:
        assert abs(seen.count(each) / 1600 - share) < 4 * (share * (1 - share) / 1600) ** 0.5
