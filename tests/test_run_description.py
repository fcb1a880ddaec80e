"""A run names the parts of its model by public names, and reads every name ever written."""

from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.nn import selectors
from foveal.nn.aggregators import Transformer
from foveal.nn.encoders import Backbone
from foveal.nn.normalisations import softmax
from foveal.nn.scorers import ConvScorer
from foveal.paper.nn.aggregators import PublishedTransformer, TablePosition
from foveal.paper.nn.encoders import BareStemResNet, ShallowNet, WhatAndWhere
from foveal.paper.nn.grids import cordonnier_grid
from foveal.paper.nn.pyramid import SqueezeExcitation
from foveal.paper.nn.scorers import TanhScorer
from foveal.paper.nn.selectors import Mixed
from foveal.runs.description import build, describe
from foveal.runs.record import PARTS
from foveal.windows import grids
from test_constructors import EACH, ONE_OF_EACH, arguments, flat, seeded

TOP_K = {"class": "foveal.nn.selectors.TopK", "arguments": {"k": 2}}
TABLE = {
    "class": "foveal.nn.aggregators.TablePosition",
    "arguments": {"candidates": 9, "features": 8},
}


def named(description: Any) -> set[str]:
    """All classes and functions that a description names."""
    if isinstance(description, list):
        return set().union(*map(named, description))
    if not isinstance(description, dict):
        return set()
    own = {description[key] for key in ("class", "function") if key in description}
    return own.union(*map(named, description.values()))


def is_public(path: str) -> bool:
    """Whether no package above exports the name, and the module itself does, or has no list."""
    home, _, name = path.rpartition(".")
    packages = home.split(".")
    above = [".".join(packages[:depth]) for depth in range(2, len(packages))]
    if any(name in getattr(import_module(each), "__all__", ()) for each in above):
        return False
    return "._" not in path and name in getattr(import_module(home), "__all__", (name,))


@EACH
def test_a_module_is_described_by_public_names_and_built_from_them(kind: type[nn.Module]) -> None:
    make, call = ONE_OF_EACH[kind]
    module = seeded(make)
    description = describe(module)
    assert all(map(is_public, named(description))), named(description)
    built = build(description, "model", PARTS).eval()
    assert type(built) is kind
    assert arguments(built).keys() == arguments(module).keys()
    built.load_state_dict(module.state_dict())
    torch.testing.assert_close(
        flat(call(built)), flat(call(module)), rtol=0, atol=0, equal_nan=True
    )


@EACH
def test_a_module_is_found_under_the_file_that_defines_it_too(kind: type[nn.Module]) -> None:
    description = describe(seeded(ONE_OF_EACH[kind][0]))
    file = {**description, "class": f"{kind.__module__}.{kind.__name__}"}
    assert describe(build(file, "model", PARTS)) == description


@pytest.mark.parametrize(
    ("thing", "path"),
    [
        (grids.regular, "foveal.windows.regular"),
        (read_folder, "foveal.data.folder.read_folder"),
        (softmax, "foveal.nn.normalisations.softmax"),
    ],
)
def test_a_function_is_described_by_its_public_name(thing: Any, path: str) -> None:
    assert describe(thing) == {"function": path}
    assert describe(partial(thing))["function"] == path


def test_a_selector_is_named_by_the_module_that_exports_it() -> None:
    assert describe(selectors.Random(2))["class"] == "foveal.nn.selectors.Random"


@pytest.mark.parametrize("thing", [lambda x: x, torch.relu, nn.ReLU(), object()])
def test_what_is_not_a_public_part_is_not_described(thing: Any) -> None:
    with pytest.raises(TypeError):
        describe(thing)


@pytest.mark.parametrize(
    "path",
    [
        "foveal.nn.encoders.feature_map._find",
        "foveal.models.factory.read_weights.x",
        "foveal.nn.encoders.UserError",
        "foveal.data.folder.read_folder",
        "foveal.nn",
        "torch.hub.load",
    ],
)
@pytest.mark.parametrize("kind", ["class", "function"])
def test_only_parts_of_models_are_built_as_parts(path: str, kind: str) -> None:
    with pytest.raises(UserError, match="of this version of foveal"):
        build({kind: path}, "model", PARTS)


# what version 0.2 wrote while all parts lay in foveal.nn -> the class, and attributes
SINCE_MOVED: dict[str, tuple[dict[str, Any], type[nn.Module], dict[str, Any]]] = {
    "encoders.ShallowNet": ({"channels": 2}, ShallowNet, {"channels": 2}),
    "encoders.WhatAndWhere": ({"widths": [4, 8]}, WhatAndWhere, {"widths": (4, 8)}),
    "encoders.Backbone": ({"name": "test_resnet", "bare_stem": False}, Backbone, {}),
    "encoders.Backbone ": ({"stage": 1, "bare_stem": True}, BareStemResNet, {"stage": 1}),
    "layers.SqueezeExcitation": ({"width": 16}, SqueezeExcitation, {"width": 16}),
    "scorers.ConvScorer": ({"pool": 4, "excitation": False}, ConvScorer, {"pool": 4}),
    "scorers.TanhScorer": ({"channels": 3}, TanhScorer, {"channels": 3}),
    "random_selectors.Random": ({"k": 3, "seed": 1}, selectors.Random, {"seed": 1}),
    "selectors.Mixed": ({"select": TOP_K, "hard": 0.5}, Mixed, {"hard": 0.5}),
    "random_selectors.Mixed": ({"select": TOP_K, "random": 0.5}, Mixed, {"random": 0.5}),
    "aggregators.TablePosition": ({"candidates": 9, "features": 8}, TablePosition, {}),
    "aggregators.Transformer": (
        {"features": 8, "width": 16, "dropout_in_evaluation": False, "pool": "amax"},
        Transformer,
        {"width": 16, "pool": "amax"},
    ),
    "aggregators.Transformer ": (
        {
            "features": 8,
            "width": 16,
            "num_layers": 1,
            "heads": 2,
            "dropout": 0.5,
            "norm_first": False,
            "pool": "sum",
            "position": TABLE,
            "dropout_in_evaluation": True,
        },
        PublishedTransformer,
        {"width": 16, "num_layers": 1, "heads": 2, "dropout": 0.5},
    ),
}


@pytest.mark.parametrize("path", SINCE_MOVED)
def test_parts_that_moved_since_a_run_was_written_are_found(path: str) -> None:
    given, kind, expected = SINCE_MOVED[path]
    built = build({"class": f"foveal.nn.{path.strip()}", "arguments": given}, "model", PARTS)
    assert type(built) is kind
    assert {name: getattr(built, name) for name in expected} == expected


@pytest.mark.parametrize("home", ["foveal.windows", "foveal.windows.grids"])
def test_the_grid_of_the_paper_is_found_where_it_was(home: str) -> None:
    assert build({"function": f"{home}.cordonnier_grid"}, "place", PARTS) is cordonnier_grid
