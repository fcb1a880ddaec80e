"""The folder of a run: its settings, its measurements and its weights.

    recipe.yaml   what was asked
    model.yaml    what the model is: classes of this package and their arguments
    data.csv      which images are in which split, if they are files
    metrics.csv   checkpoints/last   checkpoints/best   log   versions   seed

A checkpoint is a folder of `model.safetensors` and, in `last`, `state.pt` with all else that
resuming needs. Until a training ends, `first` has the weights it began with. Everything is written
beside its place and moved there when complete: whenever the power fails or the disk is full, the
folder holds the old version or the new one. Nothing here is a pickle that could execute code.
"""

import importlib.metadata
import platform
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from foveal._files import check_writable, explained, no_links, remove, write, write_through
from foveal._locks import LOCK
from foveal._processes import is_rank_zero
from foveal.errors import UserError
from foveal.runs import metrics
from foveal.runs.metrics import Row
from foveal.runs.phase_files import KINDS
from foveal.runs.stored import read_state, read_yaml, state_bytes, validated, write_yaml

__all__ = ["Name", "Row", "RunFolder"]

Name = Literal["first", "last", "best"]
_BEGINNING = {LOCK, "log", "versions", "seed", "model.yaml", "data.csv", "checkpoints"}


class RunFolder:
    """The files of one run.

    Args:
        path: an existing folder; see `create` and `open`, which check it.
    """

    def __init__(self, path: str | Path) -> None:
        """Name the files; nothing is read or made."""
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.yaml"
        self.model_file = self.path / "model.yaml"
        self.data_file = self.path / "data.csv"
        self.metrics_file = self.path / "metrics.csv"
        self.log = self.path / "log"

    @classmethod
    def create(cls, path: str | Path) -> "RunFolder":
        """Make the folder of a new run; `versions` is written at once.

        What is left of a run that never began is removed: so hold the folder, see `new_run`.
        Processes of a distributed run other than rank zero neither check nor write.

        Raises:
            UserError: the folder exists and is not empty, or cannot be made.
        """
        run = cls(path)
        if not is_rank_zero():
            return run
        run.check_new()
        run.make()
        for left in run.path.iterdir():
            if left.name != LOCK:
                remove(left)
        try:
            with explained(run.log):
                run.log.mkdir()
            run.write_versions()
        except UserError:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        return run

    def check_new(self) -> None:
        """Refuse a place where no folder of a new run can be made; nothing is made.

        Raises:
            UserError: the folder exists and is not empty, or cannot be made.
        """
        try:
            empty = self.path.is_dir() and not any(self.path.iterdir())
            if self.path.exists() and not (empty or self.never_began):
                raise UserError(
                    f"{self.path} exists and is not empty: choose another --output, or go on with "
                    "the run in it by --resume"
                )
            check_writable(self.path)
        except OSError as error:
            raise self._cannot_be_made(error) from error

    @property
    def never_began(self) -> bool:
        """Whether nothing is in it but what a run writes that is killed before recipe.yaml."""
        if self.recipe_file.exists() or not self.path.is_dir():
            return False
        names = {each.name for each in self.path.iterdir()}
        halves = {f".{name}.new" for name in (*_BEGINNING, self.recipe_file.name)}
        return LOCK in names and names <= _BEGINNING | halves

    def make(self) -> None:
        """Make the folder, if there is none.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_be_made(error) from error

    def _cannot_be_made(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: cannot make a folder for the run ({error.strerror}): choose another "
            "--output"
        )

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            UserError: there is no run at the path.
        """
        run = cls(path)
        if not run.recipe_file.is_file():
            why = "there is no such folder"
            if run.path.is_dir():
                why = "there is no recipe.yaml in it"
            if run.never_began:
                why += ", the training was stopped before it began: begin again without --resume"
            raise UserError(f"{run.path} is not a run folder: {why}")
        return run

    @property
    def is_cross_validation(self) -> bool:
        """Whether it holds the runs of folds, fold0 and so on, instead of one run."""
        if self.model_file.is_file():
            return False
        asked = self.read_recipe()
        options = asked.get("options")
        if asked.get("recipe") != "folder" or not isinstance(options, dict):
            return False
        return options.get("folds") is not None and options.get("fold") is None

    def write_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Write what was asked, in plain values."""
        write_yaml(self.recipe_file, recipe)

    def read_recipe(self) -> dict[str, Any]:
        """Read what was asked, in plain values.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_yaml(self.recipe_file)

    @property
    def recipe(self) -> str:
        """The name of the recipe in `read_recipe`.

        Raises:
            UserError: the file is missing or damaged.
        """
        name: str = validated(self.read_recipe().get("recipe"), str, f"{self.recipe_file}: recipe")
        return name

    def write_model(self, model: Mapping[str, Any]) -> None:
        """Write what the model is, in plain values."""
        write_yaml(self.model_file, model)

    def read_model(self) -> dict[str, Any]:
        """Read what the model is, in plain values.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_yaml(self.model_file)

    def write_versions(self) -> None:
        """Write what the run is made with, one `name version` a line."""
        lines = [f"{name} {_version(name)}" for name in ("foveal", "torch", "torchvision", "timm")]
        lines += [f"python {platform.python_version()}", f"platform {platform.platform()}"]
        write(self.path / "versions", "".join(f"{line}\n" for line in lines).encode())

    def write_seed(self, seed: int) -> None:
        """Write the seed all random numbers of the run come from."""
        write(self.path / "seed", f"{seed}\n".encode())

    def note(self, text: str) -> None:
        """Append a line to the log, with the time."""
        messages = self.log / "messages.txt"
        with explained(messages):
            self.log.mkdir(exist_ok=True)
            with open(messages, "a", encoding="utf-8", opener=no_links) as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def append(self, row: Row) -> None:
        """Append a row to metrics.csv; the first one decides on the columns."""
        metrics.append(self.metrics_file, row)

    def rows(self) -> list[Row]:
        """The complete rows of metrics.csv."""
        return metrics.rows(self.metrics_file)

    def cut(self, step: int) -> list[Row]:
        """Forget the rows after a step, and one that a crash left incomplete; return the others."""
        return metrics.cut(self.metrics_file, step)

    def save(
        self, name: Name, weights: Mapping[str, Tensor], state: Mapping[str, Any] | None = None
    ) -> None:
        """Replace a checkpoint, all of it or nothing.

        Args:
            name: which one.
            weights: of the model.
            state: plain values and tensors: all else that resuming needs.

        Raises:
            NotWritten: it cannot be written; the checkpoint that was there is intact.
        """
        place, new, old = (
            self.path / "checkpoints" / n for n in (name, f".{name}.new", f".{name}.old")
        )
        files = {"model.safetensors": _weights_bytes(weights)}
        if state is not None:
            files["state.pt"] = state_bytes(state)
        if old.exists() and not place.exists():  # a save was cut short between the two moves below
            with explained(place):
                old.rename(place)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        intact = f"the earlier checkpoint {name} is intact" if place.exists() else ""
        for file, content in files.items():
            with explained(place / file, intact, temporary=new):
                new.mkdir(parents=True, exist_ok=True)
                write_through(new / file, content)
        with explained(place, intact, temporary=new):
            if place.exists():
                place.rename(old)
            new.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def drop(self, name: Name) -> None:
        """Remove a checkpoint that is no longer needed."""
        if is_rank_zero():
            shutil.rmtree(self._checkpoint(name), ignore_errors=True)

    def has(self, name: Name) -> bool:
        """Whether there is such a checkpoint."""
        return (self._checkpoint(name) / "model.safetensors").is_file()

    def weights(self, name: Name) -> dict[str, Tensor]:
        """The weights of a checkpoint, on the CPU.

        Raises:
            UserError: there are none, or they are damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        file = self._checkpoint(name) / "model.safetensors"
        try:
            return load(file.read_bytes())
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from error
        except SafetensorError as error:
            raise UserError(f"{file} is damaged: {error}") from error

    def state(self) -> dict[str, Any]:
        """All else that resuming from `last` needs, on the CPU.

        Raises:
            UserError: there is none, or it is damaged.
        """
        return read_state(self._checkpoint("last") / "state.pt")

    def keep(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep what a phase of training found, plain values and tensors, all of it or nothing.

        Processes of a distributed run other than rank zero do not write.

        Raises:
            UserError: it cannot be written.
        """
        if not is_rank_zero():
            return
        file = self._phase(name)
        with explained(file):
            file.parent.mkdir(exist_ok=True)
            write(file, state_bytes(content))

    def kept(self, name: str) -> dict[str, Any] | None:
        """What a phase of training found, on the CPU; None if it has not ended yet.

        Raises:
            UserError: the file is damaged.
        """
        file = self._phase(name)
        if not file.is_file():
            return None
        content = read_state(file)
        validated(content, KINDS.get(name, dict[str, Any]), str(file))
        return content

    def phase(self, name: str) -> "RunFolder":
        """The folder of a phase that is a training of its own."""
        folder = RunFolder(self.path / "phases" / name)
        if is_rank_zero():
            with explained(folder.log):
                folder.log.mkdir(parents=True, exist_ok=True)
        return folder

    def _phase(self, name: str) -> Path:
        return self.path / "phases" / f"{name}.pt"

    def _checkpoint(self, name: Name) -> Path:
        place, old = self.path / "checkpoints" / name, self.path / "checkpoints" / f".{name}.old"
        return old if old.exists() and not place.exists() else place


def _version(package: str) -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return "not installed"


def _weights_bytes(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    # Copies, since safetensors refuses tensors that share memory.
    return bytes(save({n: w.detach().cpu().contiguous().clone() for n, w in weights.items()}))
