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
from foveal.nn.normalisations import softmax
from foveal.runs.description import build, describe
from foveal.runs.record import PARTS
from foveal.windows import grids
from test_constructors import EACH, ONE_OF_EACH, arguments, flat, seeded


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
