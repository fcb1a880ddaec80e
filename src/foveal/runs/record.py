"""What a run keeps of its experiment: what was asked in recipe.yaml, what it is in model.yaml.

model.yaml holds the class and the arguments of the model, and the function that reads the images
with its arguments, by names of this package. Loading a run needs this file and the weights; it
executes no recipe, so an option that is renamed later orphans no run. data.csv lists the images.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, get_type_hints

from pydantic import StrictInt
from torch import nn

import foveal
from foveal.data import Splits
from foveal.errors import UserError
from foveal.experiment import CachedCall, Experiment
from foveal.runs import data_table
from foveal.runs.description import build, describe
from foveal.runs.folder import RunFolder
from foveal.runs.stored import validated
from foveal.settings import Beginning, Training

FORMAT = 2
"""Of recipe.yaml and model.yaml. A run of a higher one was written by a newer foveal."""

PARTS = ("foveal.models", "foveal.nn", "foveal.windows", "foveal.paper.models", "foveal.paper.nn")
_MODELS = ("foveal.models.", "foveal.paper.models.")
_DATA = ("foveal.data", "foveal.paper.data")
_OBJECTIVES = ("foveal.objectives", "foveal.paper.objectives")


def record(folder: RunFolder, experiment: Experiment) -> None:
    """Write down what was asked, what it is and its images: `restore` needs nothing else.

    What was asked comes last: with it, the run has begun.

    Raises:
        TypeError: a part of the model is not of this package.
    """
    record_model(folder, experiment, experiment.splits)
    data_table.write(folder.data_file, experiment.splits())
    record_options(folder, experiment.recipe, experiment.options)


def record_model(folder: RunFolder, experiment: Experiment, splits: Callable[[], Splits]) -> None:
    """Write down what the model is.

    Args:
        folder: of the run.
        experiment: what was or is to be trained.
        splits: reads its images; a call of a function of this package with plain values.

    Raises:
        TypeError: a part of the model is not of this package.
    """
    beginning = experiment.beginning
    folder.write_model(
        {
            **_version(),
            "classes": list(experiment.classes),
            "multilabel": experiment.multilabel,
            "model": describe(experiment.model),
            "data": describe(splits),
            "objective": describe(experiment.objective),
            "training": _plain(asdict(experiment.training)),
            "beginning": None if beginning is None else _plain(asdict(beginning)),
        }
    )


def record_options(folder: RunFolder, recipe: str, options: Mapping[str, Any]) -> None:
    """Write down what was asked: `stored_options` reads it."""
    folder.write_recipe({**_version(), "recipe": recipe, "options": _plain(options)})


def restore(folder: RunFolder) -> Experiment:
    """Build the experiment of a run again, with an untrained model.

    Raises:
        UserError: the files are damaged, or written by a newer foveal.
    """
    if not folder.model_file.is_file():
        from foveal.runs import _format1

        return _format1.restore(folder)
    stored = folder.read_model()
    check_format(folder.model_file, stored)
    options = folder.read_recipe().get("options")
    read = _built(folder, stored, "data", _DATA)
    model = _built(folder, stored, "model", PARTS)
    objective = _built(folder, stored, "objective", _OBJECTIVES)
    if not _is_model(model) or not isinstance(read, partial):
        raise UserError(f"{folder.model_file} is damaged: it describes no model and data")
    if not (objective is None or callable(objective)):
        raise UserError(f"{folder.model_file} is damaged: its objective is no function")
    classes = _checked(folder, stored, "classes", tuple[str, ...])
    if len(set(classes)) != len(classes) or model.classes != len(classes):
        raise UserError(
            f"{folder.model_file} is damaged: a model of {model.classes} classes needs as many "
            "different names in classes"
        )
    multilabel = _checked(folder, stored, "multilabel", bool)
    splits = CachedCall(read.func, *read.args, **read.keywords)
    if folder.data_file.is_file():
        splits = CachedCall(
            data_table.recorded_splits,
            folder.data_file,
            splits,
            classes=classes,
            multilabel=multilabel,
        )
    return Experiment(
        recipe=folder.recipe,
        options=validated(options, dict[str, Any] | None, f"{folder.recipe_file}: options") or {},
        classes=classes,
        model=model,
        splits=splits,
        training=_checked(folder, stored, "training", Training),
        objective=objective,
        multilabel=multilabel,
        beginning=_checked(folder, stored, "beginning", Beginning | None),
    )


def stored_options(folder: RunFolder, recipe: Callable[..., Experiment]) -> dict[str, Any]:
    """The options that a run was begun with, as its recipe takes them.

    Args:
        folder: of the run.
        recipe: the function; the types of its keywords are those of the options.

    Raises:
        UserError: recipe.yaml is damaged, or written by a newer foveal.
    """
    stored = folder.read_recipe()
    check_format(folder.recipe_file, stored)
    if stored.get("format") == 1:
        from foveal.runs import _format1

        return dict(_format1.restore(folder).options)
    hints = get_type_hints(recipe)
    options = stored.get("options")
    if not isinstance(options, Mapping) or not set(options) <= set(hints):
        raise UserError(f"{folder.recipe_file} is damaged: options must be those of the recipe")
    return {
        name: validated(value, hints[name], f"{folder.recipe_file}: options.{name}")
        for name, value in options.items()
    }


def check_format(file: Any, stored: Mapping[str, Any]) -> None:
    """Refuse a file of a newer version in words.

    Raises:
        UserError: it is of a newer format, or of none.
    """
    form = validated(stored.get("format"), StrictInt, f"{file}: format")
    if form < 1:
        raise UserError(f"{file} is damaged: its format is {form}")
    if form > FORMAT:
        raise UserError(
            f"{file} has format {form}, written by foveal {stored.get('foveal', '(unknown)')}; "
            f"this is foveal {foveal.__version__}, which reads format {FORMAT} at most: update it "
            "to that version or a newer one"
        )


def _is_model(thing: Any) -> bool:
    return isinstance(thing, nn.Module) and type(thing).__module__.startswith(_MODELS)


def _version() -> dict[str, Any]:
    return {"format": FORMAT, "foveal": foveal.__version__}


def _built(folder: RunFolder, stored: Mapping[str, Any], key: str, within: tuple[str, ...]) -> Any:
    return build(stored.get(key), f"{folder.model_file}: {key}", within)


def _checked(folder: RunFolder, stored: Mapping[str, Any], key: str, kind: Any) -> Any:
    return validated(stored.get(key), kind, f"{folder.model_file}: {key}")


def _plain(value: Any) -> Any:
    """Groups of settings as dictionaries, tuples as lists, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return describe(value)
