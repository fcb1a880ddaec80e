"""The public names, their arguments and their defaults are those that other programs rely on."""

import inspect
from dataclasses import fields
from typing import Any

import pytest
import torch

import foveal

EMPTY = inspect.Parameter.empty

CALLS: dict[str, dict[str, Any]] = {
    "foveal.topk.hard": {"scores": EMPTY, "k": EMPTY},
    "foveal.topk.perturbed": {
        "scores": EMPTY,
        "k": EMPTY,
        "sigma": EMPTY,
        "estimator": "exact",
        "samples": 500,
        "generator": None,
    },
    "foveal.topk.sinkhorn": {"scores": EMPTY, "k": EMPTY, "epsilon": 1e-4, "iterations": 2000},
    "foveal.windows.regular": {"image_size": EMPTY, "grid_size": EMPTY, "patch_size": EMPTY},
    "foveal.windows.to_xyxy": {"windows": EMPTY},
    "foveal.windows.from_xyxy": {"boxes": EMPTY},
    "foveal.patches.extract": {
        "images": EMPTY,
        "windows": EMPTY,
        "selection": EMPTY,
        "patch_size": EMPTY,
    },
    "foveal.patches.crop": {"images": EMPTY, "windows": EMPTY, "patch_size": EMPTY},
    "foveal.models.PatchClassifier": {
        "scorer": EMPTY,
        "select": EMPTY,
        "encoder": EMPTY,
        "aggregate": EMPTY,
        "classes": EMPTY,
        "view": EMPTY,
        "patch": EMPTY,
    },
    "foveal.models.patch_classifier": {
        "encoder": "resnet18",
        "classes": EMPTY,
        "view": EMPTY,
        "patch": EMPTY,
        "k": EMPTY,
        "pretrained": EMPTY,
    },
    "foveal.load": {"path": EMPTY, "device": None},
    "foveal.train": {"data": EMPTY, "options": EMPTY},
    "foveal.data.wrap": {"dataset": EMPTY, "classes": EMPTY},
    "foveal.runs.Run.predict": {"images": EMPTY, "batch_size": 32},
    "foveal.runs.Run.evaluate": {"data": None},
    "foveal.runs.Run.explain": {"image": EMPTY},
    "foveal.runs.Run.export": {"path": EMPTY, "size": None},
    "foveal.runs.Run.to": {"device": EMPTY},
}
"""Name -> argument -> default; EMPTY: any default or none."""


def found(path: str) -> Any:
    thing: Any = foveal
    for part in path.split(".")[1:]:
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("path", CALLS)
def test_a_public_call_takes_its_documented_arguments(path: str) -> None:
    parameters = inspect.signature(found(path)).parameters
    assert [name for name in parameters if name in CALLS[path]] == list(CALLS[path])
    for name, default in CALLS[path].items():
        if default is not EMPTY:
            assert parameters[name].default == default


@pytest.mark.parametrize("name", foveal.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(foveal, name) is not None


def test_the_parts_of_the_library_are_public() -> None:
    parts = {"data", "evaluation", "images", "models", "nn", "patches", "report", "runs", "topk"}
    assert {*parts, "training", "windows", "Prediction", "load", "train"} <= set(foveal.__all__)


def test_a_selection_has_candidates_weights_and_a_dense_form() -> None:
    scores = torch.rand(2, 7, requires_grad=True)
    selection = foveal.topk.perturbed(scores, 3, 0.1)
    assert selection.candidates.shape[0] == 2
    assert selection.weights.shape[:2] == (2, 3)
    assert selection.dense(7).shape == (2, 3, 7)
    assert selection.weights.requires_grad
    assert not selection.detach().weights.requires_grad
    assert selection.to("cpu").weights.device.type == "cpu"


def test_a_prediction_says_what_it_was_made_from() -> None:
    names = {field.name for field in fields(foveal.Prediction)}
    assert names >= {"logits", "scores", "windows", "selection", "patches"}


def test_predictions_and_selections_are_pytrees() -> None:
    selection = foveal.topk.hard(torch.rand(2, 5), 2)
    leaves, structure = torch.utils._pytree.tree_flatten(selection)
    assert len(leaves) == 2
    again = torch.utils._pytree.tree_unflatten(leaves, structure)
    assert torch.equal(again.candidates, selection.candidates)
