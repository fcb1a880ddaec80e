"""Train on your own images in one call: what `foveal train DATA` does."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from foveal.errors import nearest
from foveal.experiment import group_options, option_places
from foveal.phases.launch import start
from foveal.planning.folder import default_output, folder
from foveal.runs import Run, load
from foveal.settings import Hardware, LoggerName

_HARDWARE = {field.name for field in fields(Hardware)}


def train(
    data: str | Path,
    *,
    output: str | Path | None = None,
    logger: LoggerName | None = None,
    **options: Any,
) -> Run:
    """Train a classifier on your own images and load it.

    Args:
        data: a folder with one sub-folder per class, or a CSV with the columns file,label.
        output: folder of the run; None: runs/ and the name of the data.
        logger: wandb or mlflow, which follow the training; see `foveal.training.loggers`.
        options: the options of `foveal train DATA`, with underscores: `k=6`, `view=(224, 384)`,
            `steps=600`, `accelerator="cpu"`. Of `folds`, one `fold` is trained.

    Returns:
        The run with its best weights, on the CPU.

    Raises:
        TypeError: an unknown option.
        UserError: the data or an option are not usable; one line with the remedy.
    """
    machine = {name: options.pop(name) for name in _HARDWARE & set(options)}
    places = option_places(folder)
    for option in options:
        if option not in places or option == "data":
            raise TypeError(f"unknown option {option!r}: {nearest(option, {*places, *_HARDWARE})}")
    if options.get("folds") is not None and options.get("fold") is None:
        raise TypeError("one run is returned: give fold, from 0 on, beside folds")
    experiment = folder(data=Path(data), **group_options(folder, options))
    hardware = Hardware(**machine)
    place = default_output(Path(data), options.get("fold")) if output is None else Path(output)
    return load(start(experiment, place, hardware, logger=logger).path)
