"""foveal export: a trained model as one file that runs without foveal, or as a run to share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from foveal._terminal import say
from foveal.cli._console import SUCCESS, log
from foveal.errors import UserError

Size = Annotated[tuple[int, int] | None, Parameter(negative_iterable=())]


def export(
    run: Path,
    /,
    *,
    output: Path | None = None,
    hub: str | None = None,
    public: bool = False,
    size: Size = None,
) -> int:
    """Write a trained model to one file that runs without foveal, or share the run.

    The file takes uint8 images of one size, any number at once, and says where the model looked,
    too. What is shared has a model card and names none of your files.

    Args:
        run: folder of the run, as printed by foveal train.
        output: a new file: .pt2 for PyTorch, .onnx for ONNX Runtime; or a new folder: the run to
            share.
        hub: org/name on the hub of Hugging Face, which the run is uploaded to.
        public: let everybody see it, if it is new on the hub.
        size: height and width of the images in pixels (default: those of the run's test images).
    """
    if (output is None) == (hub is None):
        raise UserError("name a file or folder with --output, or org/name with --hub")
    if public and hub is None:
        raise UserError("--public concerns the hub: name org/name with --hub")
    is_file = output is not None and output.suffix != ""
    if size is not None and not is_file:
        raise UserError("--size is that of a .pt2 or .onnx: name one with --output")
    from foveal.runs import load
    from foveal.runs.inputs import image_size

    model = load(run)
    if hub is not None:
        say(model.push_to_hub(hub, private=not public))
        return SUCCESS
    assert output is not None
    if not is_file:
        model.save_pretrained(output)
    else:
        height, width = image_size(model.experiment) if size is None else size
        model.export(output, size=(height, width))
        log(f"for images of {height} x {width} px; classes: {', '.join(model.classes)}")
    say(output)
    return SUCCESS
