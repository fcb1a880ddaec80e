"""Recipes: importable without torch, complete, and chosen sensibly from the data."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal import windows
from foveal.errors import UserError
from foveal.nn.aggregators import TablePosition
from foveal.nn.layers import LastingDropout
from foveal.nn.normalisations import sigmoid
from foveal.nn.selectors import Hard, Mixed
from foveal.paper import recipes
from foveal.planning import sizing


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


@pytest.mark.parametrize("name", recipes.NAMES)
def test_every_keyword_of_a_recipe_is_a_setting_and_explained(name: str) -> None:
    recipe = recipes.find(name)
    text = inspect.getdoc(recipe) or ""
    for parameter in inspect.signature(recipe).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert f"    {parameter.name}: " in text
    assert recipes.facts(recipe)["command"].startswith(f"foveal train {name}")


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean billiards_mini"):
        recipes.find("biliards_mini")


def test_the_settings_of_an_experiment_make_its_model_again() -> None:
    first = recipes.made("billiards_mini", {"k": 3, "seed": 5})
    again = recipes.made("billiards_mini", first.settings)
    assert set(first.settings) == set(inspect.signature(recipes.find("billiards_mini")).parameters)
    assert again.settings == first.settings
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_making_a_model_leaves_the_randomness_of_torch_alone() -> None:
    before = torch.random.get_rng_state()
    recipes.made("billiards_mini", {})
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "k must be 1 or more"),
        ({"k": 1000}, "k=1000"),
        ({"view": 8}, "too small for the scorer"),
        ({"warm_up": 1.5}, "warm_up must lie in"),
        ({"normalise": "softmin"}, "unknown normalisation 'softmin': choose "),
        ({"mix_dropped": 1.0}, "dropped must be a chance, and dropped below 1: got"),
    ],
)
def test_impossible_settings_are_the_users_to_mend(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        recipes.made("billiards_mini", settings)


def test_billiards_has_the_papers_sizes() -> None:
    experiment = recipes.made("billiards", {})
    assert experiment.model.grid == (30, 30)
    assert experiment.model.patch == (100, 100)
    assert experiment.model.select.k == 10
    assert (experiment.training.steps, experiment.training.batch) == (30_000, 64)


def test_the_pictures_of_billiards_mini_are_labelled() -> None:
    experiment = recipes.made("billiards_mini", {"train": 2, "validation": 1, "test": 1})
    splits = experiment.splits()
    example = splits.train[0]
    assert example.image.size == (160, 160)
    assert splits.train.classes == experiment.classes
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2, 1, 1)


@pytest.mark.parametrize("recipe", ["billiards", "billiards_mini"])
@pytest.mark.parametrize(
    "settings",
    [
        {"select": "sinkhorn"},
        {"soft_evaluation": True},
        {"select": "random", "join": "mean"},
        {"select": "hard"},
        {"join": "max"},
        {"normalise": "softmax|smoothing(0.1)", "sigma": 0.001},
        {"mix_hard": 0.2, "mix_random": 0.2, "mix_dropped": 0.2},
        {"model": "attention_sampling", "coordinates": True},
        {"model": "iterative"},
        {"model": "whole", "coordinates": True},
        {"model": "whole", "downscale": 4},
    ],
)
def test_every_contender_answers_and_can_learn(recipe: str, settings: dict[str, object]) -> None:
    small = {"size": 200, "view": 50} if recipe == "billiards" else {}
    sizes = {"patch": 36, "k": 3, **small}
    model = recipes.made(recipe, settings | sizes).model
    side = 200 if recipe == "billiards" else 160
    prediction = model(torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)))
    assert prediction.logits.shape == (2, 9)
    prediction.logits.square().sum().backward()
    still = {name for name, weight in model.named_parameters() if weight.grad is None}
    expected = "scorer." if settings.get("select") in ("random", "hard") else "nothing"
    assert all(name.startswith(expected) for name in still)


def test_what_disturbs_a_selection_and_its_scale_are_settings() -> None:
    settings = {"mix_hard": 0.1, "mix_random": 0.2, "mix_dropped": 0.3, "normalise": "sigmoid"}
    for recipe in ("billiards", "billiards_mini", "traffic_signs"):
        model = recipes.made(recipe, settings).model
        assert isinstance(model.select, Mixed)
        assert (model.select.hard, model.select.random, model.select.dropped) == (0.1, 0.2, 0.3)
        assert model.normalise is sigmoid
        assert type(recipes.made(recipe, {"select": "hard"}).model.select) is Hard


def test_billiards_can_be_done_as_published() -> None:
    small = {"size": 200, "view": 50, "patch": 36, "k": 3}
    experiment = recipes.made("billiards", {**small, "as_published": True})
    model, training = experiment.model, experiment.training
    assert experiment.notes == (recipes.AS_PUBLISHED,)
    assert training.weight_decay * training.learning_rate == pytest.approx(1e-4)
    assert training.decay_all
    assert model.select.estimator == experiment.settings["estimator"] == "diagonal"
    prediction = model.eval()(torch.rand(2, 3, 200, 200))
    assert torch.equal(
        prediction.windows, windows.cordonnier_grid((200, 200), model.grid, (36, 36))
    )
    lasting = [part for part in model.modules() if isinstance(part, LastingDropout)]
    assert len(lasting) == 2 * 3  # attention and feed-forward of three layers
    assert isinstance(model.aggregate.position, TablePosition)
    assert isinstance(model.encoder.network.act1, torch.nn.Identity)
    again = recipes.made("billiards", experiment.settings).model
    assert again.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(UserError, match="choose model patches"):
        recipes.made("billiards", {**small, "as_published": True, "model": "whole"})


def test_questions_have_classes_of_their_own() -> None:
    tens = recipes.made("billiards_mini", {"question": "sum_modulo_10"})
    assert tens.classes == tuple("0123456789")
    few = recipes.made("billiards_mini", {"numbers": 4})
    assert few.classes == tuple("1234")


def test_pictures_of_several_runs_are_painted_once() -> None:
    asked = {"train": 2, "validation": 1, "test": 1, "scenes": 7}
    first, second = (
        recipes.made("billiards_mini", {**asked, "seed": seed}).splits() for seed in (0, 1)
    )
    assert second.train is first.train


def test_a_folder_is_looked_at_once_and_then_rebuilt_without_it(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    first = recipes.made("folder", {"data": data, "encoder": "thin"})
    assert None not in (first.settings[name] for name in ("classes", "view", "patch", "k", "steps"))
    assert any("chosen from the images" in note for note in first.notes)
    for file in (*data.rglob("*.png"),):
        file.unlink()
    again = recipes.made("folder", first.settings)
    assert again.classes == first.classes == ("blue", "red")
    assert again.model.view == first.model.view
    assert again.training == first.training


def test_what_is_given_is_not_chosen(tmp_path: Path) -> None:
    given = {"view": (64, 64), "patch": 24, "k": 3, "steps": 7, "shift": 0}
    experiment = recipes.made(
        "folder", {"data": photos(tmp_path / "p"), "encoder": "thin", **given}
    )
    assert given.items() <= experiment.settings.items()


def test_few_images_of_a_class_are_warned_of(tmp_path: Path) -> None:
    experiment = recipes.made("folder", {"data": photos(tmp_path / "p"), "encoder": "thin"})
    assert any("fewer than 20" in note and "blue 2" in note for note in experiment.notes)


@pytest.mark.parametrize(
    ("settings", "size", "said"),
    [
        ({}, (28, 28), "too small"),
        ({"patch": 500}, (96, 128), "a patch must be smaller than the images"),
        ({"k": 500}, (96, 128), "k=500"),
        ({"k": 30, "view": (64, 64)}, (64, 640), "fewer than k=30"),
        ({"encoder": "resnet19"}, (96, 128), "timm has no network"),
        ({"weights": Path("nowhere.pt"), "encoder": "resnet10t"}, (96, 128), "no weights at"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    settings: dict[str, object], size: tuple[int, int], said: str, tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", size)
    with pytest.raises(UserError, match=said):
        recipes.made("folder", {"data": data, "encoder": "thin"} | settings)


@pytest.mark.parametrize(
    ("image", "view", "patch", "k"),
    [
        ((192, 192), (64, 64), 64, 2),
        ((640, 640), (216, 216), 64, 8),
        ((800, 1360), (224, 384), 112, 7),
        ((460, 1130), (152, 376), 96, 5),
        ((4000, 6000), (256, 384), 128, 10),
    ],
)
def test_larger_images_get_larger_views_and_more_patches(
    image: tuple[int, int], view: tuple[int, int], patch: int, k: int
) -> None:
    assert sizing.view(image) == view
    assert sizing.patch(image) == patch
    assert sizing.k(image, patch) == k


def test_balanced_weights_make_every_class_count_the_same() -> None:
    class Labels:
        classes = ("many", "few")
        labels = torch.tensor([0] * 9 + [1] * 3)

        def __len__(self) -> int:
            return 12

    weights = sizing.balanced(Labels())  # type: ignore[arg-type]
    assert 9 * weights[0] == pytest.approx(3 * weights[1])
    assert 9 * weights[0] + 3 * weights[1] == pytest.approx(12)
