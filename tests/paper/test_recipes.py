"""Recipes: importable without torch, of groups with unique options, and complete."""

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch

from foveal.errors import UserError
from foveal.experiment import option_places
from foveal.nn.normalisations import sigmoid
from foveal.nn.selectors import Hard
from foveal.paper import recipes
from foveal.paper.nn.aggregators import TablePosition
from foveal.paper.nn.dropout import LastingDropout
from foveal.paper.nn.grids import cordonnier_grid
from foveal.paper.nn.selectors import Mixed
from foveal.paper.recipes.old_names import OLD_NAMES, rename_options
from foveal.runs import RunFolder
from foveal.runs.record import record, restore, stored_options

PAPER = [name for name in recipes.NAMES if name != "folder"]


@pytest.mark.parametrize("name", PAPER)
def test_every_keyword_and_every_option_is_explained(name: str) -> None:
    recipe = recipes.find(name)
    text = inspect.getdoc(recipe) or ""
    for parameter in inspect.signature(recipe).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert f"    {parameter.name}: " in text
        if is_dataclass(group := parameter.default):
            told = inspect.getdoc(type(group)) or ""
            for field in fields(group):
                assert f"\n    {field.name}: " in told.partition("Attributes:")[2]
    assert recipes.facts(recipe)["command"].startswith(f"foveal train {name}")


@pytest.mark.parametrize("name", PAPER)
def test_no_two_groups_of_a_recipe_have_an_option_of_the_same_name(name: str) -> None:
    options: list[str] = []
    for keyword, parameter in inspect.signature(recipes.find(name)).parameters.items():
        group = parameter.default
        options += [field.name for field in fields(group)] if is_dataclass(group) else [keyword]
    assert len(set(options)) == len(options)
    assert set(options) == set(option_places(recipes.find(name)))


def test_recipes_are_found_without_torch() -> None:
    program = (
        "import sys; from foveal.paper import recipes; [recipes.find(n) for n in recipes.NAMES]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize("name", PAPER)
def test_every_old_keyword_has_a_place_that_exists(name: str) -> None:
    places = set(option_places(recipes.find(name)).values())
    assert {place for place in OLD_NAMES[name].values() if place is not None} <= places
    assert OLD_NAMES[name]["workers"] is None


def test_old_values_that_meant_two_things_become_two_options() -> None:
    signs = {"model": "patches", "clip": 0.1, "class_weights": False, "workers": 2}
    assert rename_options("traffic_signs", signs) == {
        "model": "patches",
        "clip_value": 0.1,
        "balance": False,
    }
    others = {"model": "iterative", "clip": 1.0, "class_weights": [1.0, 2.0], "weights": "gone.pt"}
    assert rename_options("traffic_signs", others) == {
        "model": "iterative",
        "clip_norm": 1.0,
        "class_weights": [1.0, 2.0],
    }
    assert rename_options("billiards", {"view": 250, "scenes": 3}) == {
        "view": (250, 250),
        "data_seed": 3,
    }
    with pytest.raises(KeyError, match="vieww"):
        rename_options("billiards", {"vieww": 250})


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean billiards_mini"):
        recipes.find("biliards_mini")


def test_the_options_of_an_experiment_build_its_model_again() -> None:
    recipe = recipes.find("billiards_mini")
    first = recipes.build("billiards_mini", {"k": 3, "seed": 5})
    again = recipe(**first.options)
    assert set(first.options) == set(inspect.signature(recipe).parameters)
    assert again.options == first.options
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_building_a_model_leaves_the_randomness_of_torch_alone() -> None:
    before = torch.random.get_rng_state()
    recipes.build("billiards_mini")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "k must be 1 or more"),
        ({"k": 1000}, "k=1000"),
        ({"view": (8, 8)}, "too small for the scorer"),
        ({"view": (40, 0)}, "view must be 1 x 1 pixels or more: got 40 x 0"),
        ({"train": 0}, "train must be 1 or more"),
        ({"kk": 3}, "the recipe billiards_mini has no option kk"),
        ({"warm_up": 1.5}, "warm_up must lie in"),
        ({"normalise": "softmin"}, "unknown normalisation 'softmin': choose "),
        ({"mix_dropped": 1.0}, "dropped"),
    ],
)
def test_impossible_settings_are_the_users_to_mend(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        recipes.build("billiards_mini", settings)


def test_billiards_has_the_papers_sizes() -> None:
    experiment = recipes.build("billiards", {})
    assert experiment.model.grid == (30, 30)
    assert experiment.model.patch == (100, 100)
    assert experiment.model.select.k == 10
    optimisation = experiment.training.optimisation
    assert (optimisation.steps, optimisation.batch) == (30_000, 64)


def test_the_pictures_of_billiards_mini_are_labelled() -> None:
    experiment = recipes.build("billiards_mini", {"train": 2, "validation": 1, "test": 1})
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
        {"select": "random", "aggregator": "mean"},
        {"select": "hard"},
        {"aggregator": "max"},
        {"normalise": "softmax|smoothing(0.1)", "sigma": 0.001},
        {"mix_hard": 0.2, "mix_random": 0.2, "mix_dropped": 0.2},
        {"model": "attention_sampling", "coordinates": True},
        {"model": "iterative"},
        {"model": "whole", "coordinates": True},
        {"model": "whole", "downscale": 4},
    ],
)
def test_every_compared_model_predicts_and_can_be_trained(
    recipe: str, settings: dict[str, object]
) -> None:
    small = {"size": 200, "view": (50, 50)} if recipe == "billiards" else {}
    sizes = {"patch": 36, "k": 3, **small}
    model = recipes.build(recipe, settings | sizes).model
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
        model = recipes.build(recipe, settings).model
        assert isinstance(model.select, Mixed)
        assert (model.select.hard, model.select.random, model.select.dropped) == (0.1, 0.2, 0.3)
        assert model.normalise is sigmoid
        assert type(recipes.build(recipe, {"select": "hard"}).model.select) is Hard


def test_billiards_can_be_done_as_published() -> None:
    small = {"size": 200, "view": (50, 50), "patch": 36, "k": 3}
    experiment = recipes.build("billiards", {**small, "as_published": True})
    model, training = experiment.model, experiment.training.optimisation
    assert experiment.notes == (recipes.AS_PUBLISHED,)
    assert training.weight_decay * training.learning_rate == pytest.approx(1e-4)
    assert training.decay_all
    assert model.select.estimator == experiment.options["selection"].estimator == "diagonal"
    prediction = model.eval()(torch.rand(2, 3, 200, 200))
    assert torch.equal(prediction.windows, cordonnier_grid((200, 200), model.grid, (36, 36)))
    lasting = [part for part in model.modules() if isinstance(part, LastingDropout)]
    assert len(lasting) == 2 * 3  # attention and feed-forward of three layers
    assert isinstance(model.aggregate.position, TablePosition)
    assert isinstance(model.encoder.network.act1, torch.nn.Identity)
    again = recipes.find("billiards")(**experiment.options).model
    assert again.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(UserError, match="choose model patches"):
        recipes.build("billiards", {**small, "as_published": True, "model": "whole"})


def test_questions_have_classes_of_their_own() -> None:
    tens = recipes.build("billiards_mini", {"question": "sum_modulo_10"})
    assert tens.classes == tuple("0123456789")
    few = recipes.build("billiards_mini", {"numbers": 4})
    assert few.classes == tuple("1234")


def test_pictures_of_several_runs_are_painted_once() -> None:
    options = {"train": 2, "validation": 1, "test": 1, "data_seed": 7}
    first, second = (
        recipes.build("billiards_mini", {**options, "seed": seed}).splits() for seed in (0, 1)
    )
    assert second.train is first.train


def test_the_data_of_a_recipe_are_a_call_that_a_run_can_write_down(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    small = {"train": 2, "validation": 1, "test": 1, "numbers": 3, "seed": 4}
    experiment = recipes.build("billiards_mini", small)
    record(folder, experiment)
    restored = restore(folder)
    assert restored.splits.func is experiment.splits.func
    one, other = (each.splits().test for each in (experiment, restored))
    assert one.classes == other.classes == ("1", "2", "3")
    assert torch.equal(one[0].image.pixels, other[0].image.pixels)
    assert restored.training == experiment.training
    assert stored_options(folder, recipes.find("billiards_mini")) == experiment.options
