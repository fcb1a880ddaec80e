"""A trained model as one file that runs without foveal: images in, probabilities and windows out.

    .pt2     torch.export: PyTorch alone loads it
    .onnx    ONNX Runtime and others load it; writing it takes the packages onnx and onnxscript

Images are uint8 of one size, any number at once. What they mean is in the file, as JSON under the
name `foveal.json`.
"""

import copy
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from foveal import __version__
from foveal._files import check_writable, explained, write
from foveal.errors import UserError
from foveal.export.program import Program
from foveal.models import PatchClassifier

__all__ = ["METADATA", "export"]

METADATA = "foveal.json"
"""Name of the metadata: an extra file of a .pt2, a metadata property of an .onnx."""


def export(
    model: nn.Module,
    path: str | Path,
    *,
    size: tuple[int, int],
    classes: Sequence[str],
    multilabel: bool = False,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Write a model to a file that runs without foveal; the model is left as it is.

    A .pt2 runs on the device of the model, an .onnx on any.

    Args:
        model: a `PatchClassifier` with hard selections.
        path: a new file, whose ending .pt2 or .onnx says what it is; written whole or not at all.
        size: (H, W) of the images, in pixels.
        classes: names of the classes, in the order of the logits.
        multilabel: whether an image has any number of the classes.
        thresholds: of the classes, in their order, see `foveal.evaluation.Thresholds`; None: the
            file has none. They are metadata: the probabilities do not depend on them.

    Raises:
        UserError: there is something at the path or another ending, a package is missing, the
            model cannot be exported, or the file cannot be written.
    """
    path = Path(path)
    serialise = _serialiser(path)
    _check_new(path)
    if min(size) < 1:
        raise UserError(f"the size of images must be positive: got {size[0]} x {size[1]} px")
    if not isinstance(model, PatchClassifier):
        raise UserError(
            f"{type(model).__name__}: only a PatchClassifier can be exported, which foveal train "
            "DATA trains"
        )
    held = copy.deepcopy(model).eval().requires_grad_(False)
    if path.suffix.lower() == ".onnx":
        held.cpu()
    about = {
        "foveal": __version__,
        "classes": list(classes),
        "multilabel": multilabel,
        "thresholds": None if thresholds is None else list(thresholds),
        "image_size": list(size),
        "channels": model.channels,
    }
    content = serialise(trace(Program(held, size, multilabel=multilabel)), json.dumps(about))
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content)


def _check_new(path: Path) -> None:
    """Refuse a path where there is something already, be it a link, or where nothing can be."""
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: there is something already: choose another --output")
    with explained(path):
        check_writable(path.parent)


@torch.no_grad()
def trace(program: Program) -> ExportedProgram:
    """Record what a program computes, for any number of images.

    Raises:
        UserError: it predicts with mixed patches, or does what cannot be recorded.
    """
    model, windows = program.model, program.candidates
    if not model.select(torch.zeros(1, len(windows), device=windows.device)).is_hard:
        raise UserError(
            "a model that predicts with mixed patches (soft_evaluation) cannot be exported: only "
            "hard selections can"
        )
    if model.mask == "background":
        raise UserError(
            "a model that passes over plain background (--mask background) cannot be exported"
        )
    shape = (2, model.channels, *program.size)
    images = torch.zeros(shape, dtype=torch.uint8, device=windows.device)
    batch = ({0: Dim("batch", min=1)},)
    try:
        return torch.export.export(program, (images,), dynamic_shapes=batch, strict=False)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"torch.export cannot export the model: {why}") from error


def _serialiser(path: Path) -> Callable[[ExportedProgram, str], bytes]:
    """What makes the bytes of a file from a program and its metadata, by the file's ending."""
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        return _pt2
    if suffix != ".onnx":
        raise UserError(f"{path}: name a file that ends in .pt2 or .onnx")
    from foveal.export.onnx import check_packages, serialised

    check_packages(path)
    return partial(serialised, name=METADATA)


def _pt2(program: ExportedProgram, about: str) -> bytes:
    file = io.BytesIO()
    program.example_inputs = None  # else the file holds the images that it was traced with
    torch.export.save(program, file, extra_files={METADATA: about})
    return file.getvalue()
