"""What is inferred from a user's own images: sizes, steps, class weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.errors import UserError
from foveal.paper import recipes
from foveal.planning import sizing
from foveal.planning.folder import folder


def photos(root: Path, size: tuple[int, int] = (96, 128), count: int = 4) -> Path:
    """Class folders of noise, red and blue."""
    random = np.random.default_rng(0)
    for colour, channel in (("blue", 2), ("red", 0)):
        (root / colour).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(60, 120, (*size, 3), dtype=np.uint8)
            pixels[8:24, 8:24, channel] = 255
            Image.fromarray(pixels).save(root / colour / f"{number}.png")
    return root


def test_what_is_inferred_is_complete_printed_and_gives_the_same_model_again(
    tmp_path: Path,
) -> None:
    data = photos(tmp_path / "photos")
    first = recipes.build("folder", {"data": data, "encoder": "thin"})
    model = first.options["model"]
    assert None not in (model.view, model.patch, model.k)
    assert first.options["optimisation"].steps > 0
    assert any("inferred from the images" in note for note in first.notes)
    again = folder(**first.options)
    assert again.options == first.options
    assert again.classes == first.classes == ("blue", "red")
    assert again.training == first.training
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_given_is_not_inferred(tmp_path: Path) -> None:
    model = {"view": (64, 64), "patch": 24, "k": 3, "encoder": "thin"}
    given = {"data": photos(tmp_path / "p"), "steps": 7, "shift_fraction": 0.0, **model}
    options = recipes.build("folder", given).options
    assert model.items() <= vars(options["model"]).items()
    assert options["optimisation"].steps == 7
    assert options["augmentation"].shift_fraction == 0


def test_few_images_of_a_class_are_warned_of(tmp_path: Path) -> None:
    experiment = recipes.build("folder", {"data": photos(tmp_path / "p"), "encoder": "thin"})
    assert any("fewer than 20" in note and "blue 2" in note for note in experiment.notes)


@pytest.mark.parametrize(
    ("settings", "size", "said"),
    [
        ({}, (28, 28), "too small"),
        ({"patch": 500}, (96, 128), "a patch must be smaller than the images"),
        ({"k": 500}, (96, 128), "k=500"),
        ({"k": 30, "view": (64, 64)}, (64, 640), "fewer than k=30"),
        ({"class_weights": (1.0,)}, (96, 128), "got 1 weights for 2 classes"),
        ({"encoder": "resnet19"}, (96, 128), "timm has no network"),
        ({"weights": Path("nowhere.pt"), "encoder": "resnet10t"}, (96, 128), "no weights at"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    settings: dict[str, object], size: tuple[int, int], said: str, tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", size)
    with pytest.raises(UserError, match=said):
        recipes.build("folder", {"data": data, "encoder": "thin"} | settings)


@pytest.mark.parametrize(
    ("image", "view", "patch", "k"),
    [
        ((192, 192), (64, 64), 64, 2),
        ((640, 640), (216, 216), 64, 8),
        ((800, 1360), (224, 384), 64, 10),
        ((460, 1130), (152, 376), 64, 10),
        ((4000, 6000), (256, 384), 128, 10),
    ],
)
def test_larger_images_get_larger_views_and_more_patches(
    image: tuple[int, int], view: tuple[int, int], patch: int, k: int
) -> None:
    assert sizing.view(image) == view
    assert sizing.patch(image) == patch
    assert sizing.k(image, patch) == k


def test_the_last_phase_is_gentle_where_nothing_else_was_asked_for() -> None:
    usual = sizing.last_phase(sizing.ALONE, 60)
    assert (usual.steps, usual.learning_rate, usual.entropy) == (60, 3e-5, 0)
    assert usual.frozen_norms
    assert usual.patience == 1
    assert sizing.last_phase(usual, 60) == usual
    asked = replace(sizing.ALONE, learning_rate=1e-3, entropy=0.02, validate_every=5, patience=2)
    assert sizing.last_phase(asked, 9) == replace(asked, steps=9, frozen_norms=True)


def test_balanced_weights_make_every_class_count_the_same() -> None:
    class Labels:
        classes = ("many", "few")
        labels = torch.tensor([0] * 9 + [1] * 3)

        def __len__(self) -> int:
            return 12

    weights = sizing.balanced(Labels())  # type: ignore[arg-type]
    assert 9 * weights[0] == pytest.approx(3 * weights[1])
    assert 9 * weights[0] + 3 * weights[1] == pytest.approx(12)
