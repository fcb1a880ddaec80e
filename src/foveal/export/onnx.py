"""An exported program as ONNX; the packages onnx and onnxscript are imported when needed."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from foveal.errors import UserError

_PACKAGES = ("onnx", "onnxscript")


def check_packages(path: Path) -> None:
    """Refuse an .onnx where the packages to write it are missing.

    Raises:
        UserError: names them.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{path}: ONNX takes the packages {' and '.join(_PACKAGES)}, of which "
            f"{' and '.join(missing)} cannot be imported: install foveal's extra onnx, or name a "
            "file that ends in .pt2"
        )


def serialised(program: ExportedProgram, about: str, *, name: str) -> bytes:
    """The bytes of an ONNX file.

    Args:
        program: from images to probabilities and windows, on the CPU.
        about: metadata.
        name: of the metadata.

    Raises:
        UserError: ONNX cannot express the program.
    """
    from onnx.checker import check_model

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own older functions
            made = torch.onnx.export(
                program,
                input_names=["images"],
                output_names=["probabilities", "windows"],
                dynamic_shapes=({0: "batch"},),
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
                dynamo=True,
                verbose=False,
            )
        assert made is not None
        made.model.metadata_props[name] = about
        content: bytes = made.model_proto.SerializeToString()
        check_model(content)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the model cannot be written as ONNX: {why}") from error
    return content


def _stable_sort(
    scores: Any, *, stable: bool = True, dim: int = -1, descending: bool = False
) -> Any:
    """torch.sort(stable=True), which torch 2.13 cannot translate: of equals, TopK puts the lower
    index first."""
    from onnxscript import opset18 as op

    shape = op.Shape(scores)
    size = op.Slice(shape, op.Constant(value_ints=[dim]), op.Constant(value_ints=[dim + 1]))
    return op.TopK(scores, size, axis=dim, largest=int(descending), sorted=1)
