"""Train on your own images in one call: what `foveal train DATA` does."""

from dataclasses import fields, is_dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

from foveal.errors import nearest
from foveal.planning.folder import folder
from foveal.runs import Run, load
from foveal.settings import Hardware
from foveal.training.launch import start


def train(data: str | Path, *, output: str | Path | None = None, **options: Any) -> Run:
    """Train a classifier on your own images and load it.

    Args:
        data: a folder with one sub-folder per class, or a CSV with the columns file,label.
        output: folder of the run; None: runs/ and the name of the data.
        options: the options of `foveal train DATA`, with underscores: `k=6`, `view=(224, 384)`,
            `steps=600`, `accelerator="cpu"`.

    Returns:
        The run with its best weights, on the CPU.

    Raises:
        TypeError: an unknown option.
        UserError: the data or an option are not usable; one line with the remedy.
    """
    groups: dict[str, Any] = {
        name: parameter.default
        for name, parameter in signature(folder).parameters.items()
        if name != "data"
    }
    groups["hardware"] = Hardware()
    homes = {
        field.name: name
        for name, group in groups.items()
        if is_dataclass(group)
        for field in fields(group)
    }
    for option, value in options.items():
        if option in homes:
            home = homes[option]
            groups[home] = replace(groups[home], **{option: value})
        elif option in groups and not is_dataclass(groups[option]):
            groups[option] = value
        else:
            raise TypeError(f"unknown option {option!r}: {nearest(option, homes)}")
    hardware = groups.pop("hardware")
    experiment = folder(data=Path(data), **groups)
    output = Path(output) if output is not None else Path("runs") / Path(data).stem
    return load(start(experiment, output, hardware).path)
