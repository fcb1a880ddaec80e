"""Runs of format 1, written by foveal 0.1: recipe.yaml with flat settings, and no model.yaml.

Their model is built by the recipe that they name, from the settings that are stored complete.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.experiment import CachedCall, Experiment
from foveal.models import AttentionSampling, PatchClassifier
from foveal.models.from_settings import from_settings
from foveal.nn.backbones import IMAGENET_MEAN, IMAGENET_STD
from foveal.nn.encoders import Backbone
from foveal.nn.scorers import BackboneScorer
from foveal.runs.folder import RunFolder
from foveal.runs.record import check_format
from foveal.runs.stored import validated
from foveal.settings import Augmentation, Model, Optimisation, Selection, Training

_MODEL = {
    "view": "view",
    "patch": "patch",
    "k": "k",
    "encoder": "encoder",
    "stage": "encoder_stage",
    "scorer": "scorer",
    "scorer_stage": "scorer_stage",
    "scorer_frozen": "freeze_scorer",
    "aggregate": "aggregator",
}
_OPTIMISATION = {
    "steps": "steps",
    "batch": "batch",
    "learning_rate": "learning_rate",
    "scorer_learning_rate": "scorer_lr_scale",
    "weight_decay": "weight_decay",
    "entropy": "entropy",
}


def restore(folder: RunFolder) -> Experiment:
    """Build the experiment of a run of format 1, with an untrained model.

    Raises:
        UserError: recipe.yaml is damaged, or of another format.
    """
    stored = folder.read_recipe()
    check_format(folder.recipe_file, stored)
    name, settings = stored.get("recipe"), stored.get("settings")
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise UserError(f"{folder.recipe_file} is damaged: recipe or settings are missing")
    place = f"{folder.recipe_file}: settings"
    try:
        made = _folder(settings, place) if name == "folder" else _of_paper(name, settings)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{place} do not fit the recipe {name}: {error}") from error
    _restore_assumptions(made.model)
    return made


def _restore_assumptions(model: nn.Module) -> None:
    """Undo what later versions read from a timm network: every one had ImageNet's pixels, and
    every scorer an offset of half a pixel."""
    for part in model.modules():
        if isinstance(part, Backbone | BackboneScorer):
            colour = part.channels == 3
            part.mean = IMAGENET_MEAN if colour else (0.45,) * part.channels
            part.std = IMAGENET_STD if colour else (0.225,) * part.channels
        if isinstance(part, BackboneScorer):
            part.offset = 0.5
    if isinstance(model, PatchClassifier | AttentionSampling):
        model.geometry.offset = float(model.scorer.offset)


def _folder(settings: Mapping[str, Any], place: str) -> Experiment:
    def group(kind: type, names: Mapping[str, str], **more: Any) -> Any:
        values = {new: settings[old] for old, new in names.items() if old in settings}
        return validated(values | more, kind, place)

    classes = validated(settings["classes"], tuple[str, ...], f"{place}.classes")
    before = {
        "encoder_stage": -1,
        "aggregator": "max",
        "zoom": 1.0,
        "apart": 0,
        "mask": "none",
        "pretrained": False,
    }
    given = {new: settings[old] for old, new in _MODEL.items() if old in settings}
    model = group(Model, {}, **before | given)
    selection = group(Selection, {"sigma": "sigma"})
    optimisation = group(
        Optimisation, _OPTIMISATION, class_weights=settings.get("class_weights") or None
    )
    augmentation = group(Augmentation, {"shift": "shift", "flip": "flip"}, colour=True)
    seed = validated(settings.get("seed", 0), int, f"{place}.seed")
    return Experiment(
        recipe="folder",
        options={
            "data": settings["data"],
            "model": model,
            "selection": selection,
            "optimisation": optimisation,
            "augmentation": augmentation,
            "balance": optimisation.class_weights is not None,
            "seed": seed,
        },
        classes=classes,
        model=from_settings(model, selection, classes=len(classes)),
        splits=CachedCall(read_folder, str(settings["data"]), seed=seed, classes=classes),
        training=Training(optimisation=optimisation, augmentation=augmentation, seed=seed),
    )


def _of_paper(name: str, settings: Mapping[str, Any]) -> Experiment:
    """By the recipe itself, found by the name in the run."""
    recipes = import_module("foveal.paper.recipes")
    old = import_module("foveal.paper.recipes.old_names")
    experiment: Experiment = recipes.build(name, old.rename_options(name, settings))
    return experiment
