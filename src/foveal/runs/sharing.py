"""A run for others: a folder that names none of your files, and the hub that it is shared on.

All of it is written from the loaded model: its class and arguments, its weights, its classes
and thresholds, how it was trained, and a model card. Nothing is copied from the run folder, whose
data.csv, log, phases and options name your images and folders.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from foveal._files import explained, new_folder, write
from foveal.data import no_images
from foveal.errors import DownloadFailed, UserError
from foveal.nn._hub import quick_hub
from foveal.runs.card import model_card
from foveal.runs.folder import RunFolder
from foveal.runs.record import record_model, record_options
from foveal.runs.thresholds import keep_thresholds

if TYPE_CHECKING:
    from foveal.evaluation import Report
    from foveal.runs.run import Run

HUB = "hf-hub:"
"""Before the name of a run on the hub, as in timm: `hf-hub:org/name`, maybe with `@revision`."""

CARD = "README.md"
_FILES = [CARD, "*.yaml", "checkpoints/*/model.safetensors", "phases/thresholds.pt"]


def save(run: "Run", folder: Path, report: "Report | None", address: str | None = None) -> None:
    """Write a run for others into a new folder; `foveal.load` reads it.

    Args:
        run: a loaded run.
        folder: must not exist yet, or be empty.
        report: figures for the card; None: it says that there are none.
        address: what others load; None: the name of the folder.

    Raises:
        UserError: there is something in the folder, or it cannot be written.
    """
    with new_folder(folder) as place:
        shared, experiment = RunFolder(place), run.experiment
        record_model(shared, experiment, partial(no_images))
        record_options(shared, experiment.recipe, {})
        shared.save(run.checkpoint, run.model.state_dict())
        if run.thresholds is not None:
            keep_thresholds(shared, run.thresholds)
        write(place / CARD, model_card(run, report, address or folder.name).encode())


def push(run: "Run", name: str, report: "Report | None", *, private: bool) -> str:
    """Upload a run to the hub; see `save` for what of it.

    Args:
        run: a loaded run.
        name: org/name, on the hub that the environment variable HF_ENDPOINT names, or Hugging
            Face's.
        report: figures for the card.
        private: whether a repository that does not exist yet is made for its owner alone.

    Returns:
        The address to load it by.

    Raises:
        UserError: the hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    name = name.removeprefix(HUB)
    with TemporaryDirectory() as place, explained(Path(place)):
        save(run, Path(place, "run"), report, HUB + name)
        remedy = "check the name org/name, log in with hf auth login, and try again"
        with _one_line(f"{name}: cannot be uploaded", remedy), quick_hub():
            hub = HfApi()
            hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(
                repo_id=name, folder_path=Path(place, "run"), commit_message="Upload a foveal run"
            )
    return HUB + name


def is_on_hub(path: str | Path) -> bool:
    """Whether a path is the address of a run on the hub."""
    return str(path).startswith(HUB)


def downloaded(address: str | Path) -> Path:
    """The folder of a run on the hub: from the hub, or as it was downloaded before.

    Args:
        address: `hf-hub:org/name`, maybe with `@revision`.

    Raises:
        UserError: there is none, or it cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    name, _, revision = Path(address).as_posix().removeprefix(HUB).partition("@")
    remedy = "check the name hf-hub:org/name, or, of a private one, log in with hf auth login"
    with _one_line(f"{HUB}{name}: cannot be downloaded", remedy), quick_hub():
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_FILES))


@contextmanager
def _one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn the errors of the hub's client into one line."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, HTTPError) as error:
        why = " ".join((str(error).strip() or type(error).__name__).splitlines()[:1])
        raise DownloadFailed(f"{what} ({why.rstrip('.')}): {remedy}") from error
