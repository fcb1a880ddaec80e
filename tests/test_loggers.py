"""Laws of other loggers: they get the rows of metrics.csv, and never stop a training."""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import foveal._torchvision  # noqa: F401  # before lightning

# isort: split
from lightning.fabric.loggers import CSVLogger
from lightning.fabric.loggers.logger import Logger as LightningLogger

import miniatures
from foveal.cli.main import main
from foveal.experiment import Experiment
from foveal.planning.folder import folder
from foveal.runs.folder import Row
from foveal.settings import Model, Optimisation
from foveal.training import fit

PACKAGES = ["wandb", "mlflow"]


class Recording(LightningLogger):
    """Records the logged rows; from one of them on it fails, as if the connection were lost."""

    name, version = "recording", 0

    def __init__(self, fails_after: int = 100) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.ends: list[str] = []
        self.fails_after = fails_after

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("a training has no hyperparameters to tell by itself")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if len(self.rows) == self.fails_after:
            raise ConnectionError("the service\nis gone")
        self.rows.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.ends.append(status)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    photos = miniatures.class_folders(tmp_path / "photos", {"a": 6, "b": 6}, (48, 64))
    return folder(
        data=photos,
        model=Model(encoder="thin", view=(48, 48), patch=16, k=2, pretrained=False),
        optimisation=Optimisation(steps=4, batch=4, log_every=1, validate_every=2),
    )


def train(experiment: Experiment, *loggers: LightningLogger, progress: bool = False) -> list[Row]:
    splits = experiment.splits()
    return fit(experiment.model, splits, experiment.training, loggers=loggers, progress=progress)


def known(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if value is not None and name != "step"}


def test_a_logger_gets_every_row_that_the_metrics_have(experiment: Experiment, tmp_path: Path):
    recording, written = Recording(), CSVLogger(tmp_path / "logs", flush_logs_every_n_steps=1)
    rows = train(experiment, recording, written)
    assert recording.rows == [(row["step"], known(row)) for row in rows]
    assert len(rows) == 4
    assert recording.ends == ["success"]
    (file,) = (tmp_path / "logs").rglob("metrics.csv")
    with file.open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    losses = [float(row["validation_loss"]) for row in table if row["validation_loss"]]
    assert losses == [row["validation_loss"] for row in rows if row["validation_loss"] is not None]


def test_a_logger_that_fails_is_left_and_training_goes_on(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
):
    failing, other = Recording(fails_after=2), Recording()
    rows = train(experiment, failing, other, progress=True)
    assert [step for step, _ in failing.rows] == [1, 2]
    assert [step for step, _ in other.rows] == [row["step"] for row in rows] == [1, 2, 3, 4]
    assert (failing.ends, other.ends) == ([], ["success"])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "Recording" in line]
    assert len(warnings) == 1
    assert "warning: Recording gets no more rows (the service is gone)" in warnings[0]


class Crashing(Recording):
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise KeyboardInterrupt


def test_a_logger_hears_that_a_training_failed(experiment: Experiment):
    recording = Recording()
    with pytest.raises(KeyboardInterrupt):
        train(experiment, recording, Crashing())
    assert recording.ends == ["failed"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_not_installed_is_one_line_before_there_is_a_folder(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    (tmp_path / "photos").mkdir()
    words = ["train", str(tmp_path / "photos"), "--output", str(tmp_path / "run")]
    assert main([*words, "--logger", package]) == 2
    assert capsys.readouterr().err == (
        f"foveal: --logger {package}: the package {package} is not installed: "
        f"pip install 'foveal[{package}]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_logger_of_several_trainings_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "photos").mkdir()
    words = ["train", str(tmp_path / "photos"), "--folds", "2", "--logger", "wandb"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 2
    assert "--logger wandb follows one training" in capsys.readouterr().err


@pytest.mark.parametrize("package", PACKAGES)
def test_lightning_has_the_logger_of_each_package(package: str):
    from lightning.pytorch import loggers

    name = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}[package]
    assert issubclass(getattr(loggers, name), LightningLogger)
