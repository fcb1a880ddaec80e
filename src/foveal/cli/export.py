"""foveal export: a trained model as one file that runs without foveal."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from foveal._terminal import say
from foveal.cli._console import SUCCESS, log

Size = Annotated[tuple[int, int] | None, Parameter(negative_iterable=())]


def export(run: Path, /, *, output: Path, size: Size = None) -> int:
    """Write a trained model to one file that runs without foveal: images in, probabilities out.

    It takes uint8 images of one size, any number at once, and says where the model looked, too.

    Args:
        run: folder of the run, as printed by foveal train.
        output: a new file: .pt2 for PyTorch, .onnx for ONNX Runtime.
        size: height and width of the images in pixels (default: those of the run's test images).
    """
    from foveal.runs import load
    from foveal.runs.inputs import image_size

    model = load(run)
    height, width = image_size(model.experiment) if size is None else size
    model.export(output, size=(height, width))
    log(f"for images of {height} x {width} px; classes: {', '.join(model.classes)}")
    say(output)
    return SUCCESS
