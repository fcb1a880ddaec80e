"""A trained model with its class names, ready to be asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from torch import Tensor, nn

import foveal
from foveal.data.folder.listing import SUFFIXES, natural
from foveal.errors import UserError
from foveal.evaluation import Result, predict
from foveal.experiment import Experiment
from foveal.images import FileImage, Image, TensorImage
from foveal.paper import recipes
from foveal.runs.folder import Name, RunFolder

FORMAT = 1
"""Of recipe.yaml. A run of a higher one was made by a newer foveal."""

Source = str | Path | Tensor | Image


@dataclass(frozen=True, repr=False)
class Run:
    """A run: the experiment that was made, with its trained model.

    Attributes:
        path: the run's folder.
        experiment: what was trained; its model is in evaluation mode, on the CPU.
        checkpoint: which weights it has, best or last.
    """

    path: Path
    experiment: Experiment
    checkpoint: str

    @property
    def model(self) -> nn.Module:
        """From images to a `foveal.Prediction`."""
        return self.experiment.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.experiment.classes

    def predict(self, images: Source | Sequence[Source]) -> list[Result]:
        """Say what is in images.

        Args:
            images: paths of files or folders (all images in and below them), or tensors (C, H, W)
                or (B, C, H, W), uint8 or in [0, 1]; one or several.

        Returns:
            A result an image, in order. One that cannot be read has an `error`, the rest go on.

        Raises:
            UserError: a folder holds no image.
        """
        return list(self.results(images))

    def results(self, images: Source | Sequence[Source]) -> Iterator[Result]:
        """As `predict`, one after the other."""
        sets = self.experiment.multilabel
        return predict(self.model, gathered(images), self.classes, multilabel=sets)

    def __repr__(self) -> str:
        """What it is, in one line."""
        shown = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        recipe = self.experiment.recipe
        return f"Run({str(self.path)!r}: {recipe}, {len(self.classes)} classes: {shown})"


def load(path: str | Path) -> Run:
    """Load a run's best model, or its last where none was judged best.

    Nothing that is read can execute code: settings are plain YAML, weights are safetensors.

    Args:
        path: the folder of the run.

    Raises:
        UserError: no such run, no weights yet, damaged, or made by a newer foveal.
    """
    folder = RunFolder.open(path)
    name, settings = asked(folder)
    if not (folder.has("best") or folder.has("last")):
        raise UserError(
            f"{folder.path} has no checkpoint yet: wait for its first, or go on with "
            f"foveal train {name} --resume --output {folder.path}"
        )
    if "weights" in settings:  # what the training began from is not needed again, and may be gone
        settings["weights"] = None
    experiment = recipes.made(name, settings)
    checkpoint: Name = "best" if folder.has("best") else "last"
    try:
        experiment.model.load_state_dict(folder.weights(checkpoint))
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{folder.path}: the weights in checkpoints/{checkpoint} do not fit the model in "
            f"recipe.yaml: {why}"
        ) from error
    experiment.model.eval()
    return Run(folder.path, experiment, checkpoint)


def record(folder: RunFolder, experiment: Experiment) -> None:
    """Write what was asked, complete, so that `load` and `--resume` need nothing else."""
    folder.write_recipe(
        {
            "format": FORMAT,
            "foveal": foveal.__version__,
            "recipe": experiment.recipe,
            "classes": experiment.classes,
            "settings": experiment.settings,
        }
    )


def asked(folder: RunFolder) -> tuple[str, dict[str, Any]]:
    """The recipe of a run and its settings.

    Raises:
        UserError: it was made by a newer foveal, or recipe.yaml is damaged.
    """
    recipe = folder.read_recipe()
    if not isinstance(form := recipe.get("format"), int) or form > FORMAT:
        maker = recipe.get("foveal", "another version")
        raise UserError(
            f"{folder.recipe_file}: written by foveal {maker}, this is {foveal.__version__}; "
            "use that version or a newer one"
        )
    name, settings = recipe.get("recipe"), recipe.get("settings")
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise UserError(f"{folder.recipe_file} is damaged: it names no recipe and settings")
    known = get_type_hints(recipes.find(name))
    if unknown := sorted(set(settings) - set(known)):
        raise UserError(
            f"{folder.recipe_file}: the recipe {name} has no setting {', '.join(unknown)}; was it "
            f"made by foveal {recipe.get('foveal')}? This is {foveal.__version__}"
        )
    return name, typed(name, settings)


def typed(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe as it knows them, where YAML or JSON made them lists or text."""
    known = get_type_hints(recipes.find(name))
    return {key: _typed(value, known[key]) for key, value in settings.items()}


def agree(folder: RunFolder, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that was begun earlier, once it is sure that they are those given.

    Args:
        folder: of the run.
        name: of the recipe.
        given: some of the settings.

    Raises:
        UserError: it is a run of another recipe, or a setting differs.
    """
    begun, settings = asked(folder)
    if begun != name:
        raise UserError(f"{folder.path} is a run of the recipe {begun}, not of {name}")
    for key, value in given.items():
        if _comparable(value) != _comparable(settings.get(key)):
            raise UserError(
                f"--{key} {value} is not what the run in {folder.path} was begun with, "
                f"{settings.get(key)}: leave it out to go on, or begin another run with --output"
            )
    return settings


def _comparable(value: object) -> object:
    return str(value.resolve()) if isinstance(value, Path) else value


class Images(Sequence[Image]):
    """Images one after the other; those in files are opened anew each time, so none is kept."""

    def __init__(self, sources: Sequence[Path | Image]) -> None:
        """Keep the paths, and what is no path."""
        self.sources = sources

    def __len__(self) -> int:
        """Number of images."""
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        """The image of a number."""
        source = self.sources[index]
        return FileImage(source) if isinstance(source, Path) else source


def gathered(images: Source | Sequence[Source]) -> Images:
    """One flat sequence of images, from all that `Run.predict` takes."""
    return Images(_flat(images))


def _flat(images: Source | Sequence[Source]) -> list[Path | Image]:
    if isinstance(images, Tensor):
        return [TensorImage(pixels) for pixels in (images if images.ndim == 4 else images[None])]
    if isinstance(images, str | Path):
        return [*files(Path(images))]
    if isinstance(images, Sequence):
        return [image for source in images for image in _flat(source)]
    return [images]


def files(path: Path) -> list[Path]:
    """The path itself, or all image files in and below a folder, in natural order.

    Raises:
        UserError: a folder without images.
    """
    if not path.is_dir():
        return [path]
    found = [p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not found:
        raise UserError(f"{path}: no images in this folder; there should be JPEG, PNG, TIFF files")
    return sorted(found, key=lambda p: [natural(part) for part in p.relative_to(path).parts])


def _typed(value: Any, annotation: Any) -> Any:
    """What YAML made a list or text, as the recipe knows it."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and Path in (annotation, *get_args(annotation)):
        return Path(value)
    return value
