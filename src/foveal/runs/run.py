"""A trained model with its class names, loaded from the folder of its run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
import torch
from torch import nn

from foveal.data import Dataset
from foveal.data.folder import ImageFiles, read_whole
from foveal.data.labels import is_multilabel
from foveal.errors import UserError
from foveal.evaluation import Input, Report, Result, Thresholds, evaluate, predict, read_input
from foveal.evaluation.evidence import evaluate_looks
from foveal.experiment import Experiment
from foveal.images import Image
from foveal.images.conversion import Source
from foveal.runs.data_table import overlap
from foveal.runs.folder import Name, RunFolder
from foveal.runs.inputs import image_size, list_images, own_test_images
from foveal.runs.record import restore
from foveal.runs.sharing import downloaded, is_on_hub
from foveal.runs.thresholds import Threshold, asked_thresholds, kept_thresholds
from foveal.runs.untrained import untrained_scorers

__all__ = ["Run", "list_images", "load"]

if TYPE_CHECKING:
    from foveal.report.looks import Look


@dataclass(frozen=True, repr=False)
class Run:
    """A trained model with its class names.

    Attributes:
        path: the run's folder.
        experiment: what was trained; its model is in evaluation mode.
        checkpoint: which weights it has, best or last.
    """

    path: Path
    experiment: Experiment
    checkpoint: Name

    @property
    def model(self) -> nn.Module:
        """The model, from images to a `foveal.Prediction`."""
        return self.experiment.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.experiment.classes

    @property
    def multilabel(self) -> bool:
        """Whether an image has any number of the classes instead of exactly one."""
        return self.experiment.multilabel

    @property
    def thresholds(self) -> Thresholds | None:
        """Those that training chose on the validation images; None if it chose none."""
        return kept_thresholds(RunFolder(self.path), self.classes)

    def to(self, device: str | torch.device) -> Run:
        """Move the model to a device, in place; return the run."""
        self.model.to(device)
        return self

    def predict(
        self,
        images: Source | Iterable[Source],
        *,
        batch_size: int = 32,
        threshold: Threshold | None = None,
    ) -> list[Result]:
        """Predict the classes of images, and where the model looked.

        Args:
            images: paths of files, of folders (all images in and below them) or glob patterns;
                tensors (C, H, W) or (B, C, H, W), uint8 or in [0, 1]; PIL images; NumPy arrays
                (H, W) or (H, W, C); one, or an iterable of any of them.
            batch_size: images per forward pass; the results do not depend on it.
            threshold: probability above which a class is predicted, see
                `foveal.runs.thresholds.asked_thresholds`; "validation": as training chose it.
                None: the most probable class; of sets, those above one half.

        Returns:
            A result per image, in order. An image that cannot be read has an `error`, the others
            are predicted.

        Raises:
            UserError: a folder or pattern without an image, or a threshold without a meaning.
        """
        asked = None if threshold is None else self.thresholds_at(threshold)
        return list(self.results(list_images(images), batch_size=batch_size, thresholds=asked))

    def results(
        self,
        images: Sequence[Image],
        *,
        batch_size: int = 32,
        thresholds: Thresholds | None = None,
    ) -> Iterator[Result]:
        """Predict images one after the other; see `predict` and `list_images`."""
        several = self.multilabel
        results = predict(self.model, images, self.classes, batch_size, multilabel=several)
        if thresholds is None:
            return results
        return (thresholds.apply(result, multilabel=several) for result in results)

    def thresholds_at(self, threshold: Threshold) -> Thresholds:
        """What a threshold means for each class; see `predict`."""
        return asked_thresholds(self.path, self.experiment, threshold)

    def evaluate(
        self,
        data: str | Path | Dataset | None = None,
        *,
        batch_size: int = 32,
        looks: bool = False,
    ) -> Report:
        """Evaluate on labelled images.

        Args:
            data: a folder or CSV, whose test split is used if it has one, or a data set; None: the
                test images of the run's own data.
            batch_size: images per forward pass; the report does not depend on it.
            looks: measure whether the looks matter, in several passes over the images; see
                `foveal.evaluation.evidence`.

        Raises:
            UserError: the data cannot be read or have unknown classes; the model has no looks.
        """
        dataset = data if isinstance(data, Dataset) else self.labelled_images(data)[0]
        thresholds, judge = self.thresholds, evaluate
        if looks:
            judge = partial(evaluate_looks, untrained=untrained_scorers(self.model))
        report = judge(self.model, dataset, batch_size, classes=self.classes)
        return replace(report, thresholds=thresholds)

    def labelled_images(self, data: str | Path | None = None) -> tuple[Dataset, str]:
        """The images to evaluate on, and a description of them; see `evaluate`."""
        if data is None:
            return own_test_images(self.experiment)
        whole = self.read(Path(data))
        test = [i for i, image in enumerate(whole.images) if image.split == "test"]
        return (whole.subset(test), f"the test split of {data}") if test else (whole, str(data))

    def read(self, path: Path) -> ImageFiles:
        """Read labelled images with the classes of the run.

        Raises:
            UserError: the data cannot be read, or give several classes per image where the run
                predicts one, or the other way round.
        """
        data = read_whole(path, classes=self.classes, multilabel=self.multilabel)
        if is_multilabel(data.labels) and not self.multilabel:
            raise UserError(
                f"{path}: some labels have several classes, and {self.path} predicts one class per"
                " image: give one label each"
            )
        return data

    def seen(self, data: Dataset) -> dict[str, list[str]]:
        """Which images of labelled data the run was trained or validated on, byte by byte.

        Args:
            data: as `labelled_images` returns it.

        Returns:
            Names of the images by split, "train" and "validation"; nothing if the data are no
            files, or the run keeps no list of its images.
        """
        table = RunFolder(self.path).data_file
        if not isinstance(data, ImageFiles) or not table.is_file():
            return {}
        return overlap(table, data, multilabel=self.multilabel)

    def explain(self, image: Source) -> PIL.Image.Image:
        """Draw where the model looked in one image: score map, windows and patches.

        Args:
            image: see `predict`.

        Raises:
            UserError: the image cannot be read, or there are several.
        """
        images = list_images(image)
        if len(images) != 1:
            raise UserError(f"{image}: explain takes one image: got {len(images)}")
        look = self.look(read_input(images, 0))
        if look.picture is None:
            raise UserError(str(look.result.error))
        return look.picture

    def export(self, path: str | Path, *, size: tuple[int, int] | None = None) -> None:
        """Write the model, and its thresholds, to a file that runs without foveal.

        See `foveal.export`.

        Args:
            path: a new file that ends in .pt2 (PyTorch) or .onnx (ONNX).
            size: (H, W) of the images that it will take, in pixels; None: that of the run's test
                images, if all have one.

        Raises:
            UserError: the size is not known, the model cannot be exported, or the file cannot be
                written.
        """
        from foveal.export import export

        size = image_size(self.experiment) if size is None else size
        kept = self.thresholds
        export(
            self.model,
            path,
            size=size,
            classes=self.classes,
            multilabel=self.multilabel,
            thresholds=None if kept is None else [kept.classes[name] for name in self.classes],
        )

    def save_pretrained(self, folder: str | Path, *, report: Report | None = None) -> None:
        """Write the run for others, without the names of your files; see `foveal.runs.sharing`.

        Args:
            folder: a new one, which `foveal.load` reads, with a model card.
            report: figures for the card; None: the run is evaluated on its own test images, if
                they are there.

        Raises:
            UserError: there is something in the folder, or it cannot be written.
        """
        from foveal.runs import sharing

        sharing.save(self, Path(folder), report or self._own_report())

    def push_to_hub(self, name: str, *, private: bool = True, report: Report | None = None) -> str:
        """Upload what `save_pretrained` writes to the hub of Hugging Face.

        Args:
            name: org/name of the repository, which is made if there is none.
            private: whether a new repository can be seen by its owner alone.
            report: see `save_pretrained`.

        Returns:
            The address that `foveal.load` takes, hf-hub:org/name.

        Raises:
            UserError: the hub refuses it or cannot be reached.
        """
        from foveal.runs import sharing

        return sharing.push(self, name, report or self._own_report(), private=private)

    def _own_report(self) -> Report | None:
        """Figures on images that it was not trained on, if these can be read."""
        try:
            return self.evaluate()
        except UserError:
            return None

    def look(self, asked: Input) -> Look:
        """Predict one image and draw where the model looked."""
        from foveal.report.looks import explain

        return explain(self.model, asked, self.classes, multilabel=self.multilabel)

    def __repr__(self) -> str:
        """Path, recipe and classes, in one line."""
        shown = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        recipe = self.experiment.recipe
        return f"Run({str(self.path)!r}: {recipe}, {len(self.classes)} classes: {shown})"


def load(path: str | Path, *, device: str | torch.device | None = None) -> Run:
    """Load a run: the weights of its best validation, else the last ones.

    Nothing that is read can execute code: settings are plain YAML, weights are safetensors.

    Args:
        path: the folder of the run, or hf-hub:org/name, maybe with @revision: a run on the hub of
            Hugging Face, which is downloaded once.
        device: where the model is moved; None: the CPU.

    Raises:
        UserError: no such run, no weights yet, damaged, or made by a newer foveal.
    """
    if is_on_hub(path):
        path = downloaded(path)
    folder = RunFolder.open(path)
    if folder.is_cross_validation:
        raise UserError(
            f"{folder.path} holds the runs of several folds: name one, such as "
            f"{folder.path / 'fold0'}"
        )
    if not (folder.has("best") or folder.has("last")):
        raise UserError(
            f"{folder.path} has no checkpoint yet: wait for its first, or go on with "
            f"foveal train --resume --output {folder.path}"
        )
    experiment = restore(folder)
    checkpoint: Name = "best" if folder.has("best") else "last"
    try:
        experiment.model.load_state_dict(folder.weights(checkpoint))
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{folder.path}: the weights in checkpoints/{checkpoint} do not fit the model in "
            f"{folder.model_file.name}: {why}"
        ) from error
    experiment.model.eval()
    run = Run(folder.path, experiment, checkpoint)
    return run if device is None else run.to(device)
