"""A disk that fills up during training costs one line; the run can be resumed, or never began."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import foveal
import miniatures
from foveal.cli.main import main
from foveal.nn.encoders import Backbone
from foveal.runs.folder import RunFolder
from full_disk import disk_full_after

OPTIONS = ["--encoder", "thin", "--view", "64", "64", "--patch", "32", "--k", "2", "--batch", "4"]
OPTIONS += ["--steps", "4", "--validate-every", "2"]
# the files of a run in the order in which they are first written
FILES = (
    *("versions", "recipe.yaml", "model.yaml", "data.csv", "metrics.csv"),
    *("checkpoints/best/model.safetensors", "checkpoints/last/state.pt"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"a": 6, "b": 6}
    return miniatures.class_folders(tmp_path_factory.mktemp("photos"), counts, size=(64, 96))


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", str(photos), "--output", str(output), *OPTIONS]) == 0
    return output


@contextmanager
def disk_full_when_there_is(file: Path) -> Iterator[None]:
    """No more can be written once a file exists."""
    before, ended = resource.getrlimit(resource.RLIMIT_FSIZE), threading.Event()

    def watch() -> None:
        while not file.exists() and not ended.wait(0.001):
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def check_resumed(output: Path, whole: Path) -> None:
    """With space again, the run ends as the one that nothing disturbed."""
    assert main(["train", "--resume", "--output", str(output)]) == 0
    ended, expected = (RunFolder(path).weights("last") for path in (output, whole))
    assert all(torch.equal(ended[name], value) for name, value in expected.items())


@pytest.mark.parametrize("file", FILES)
def test_a_disk_that_lacks_room_for_a_file(
    file: str, photos: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    command = ["train", str(photos), "--output", str(output), *OPTIONS]
    with disk_full_after((whole / file).stat().st_size - 1):
        assert main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    reason = lines[-1]
    assert reason.startswith(f"foveal: {output}/")
    assert "cannot be written (File too large)" in reason
    assert not any("Traceback" in line for line in lines)
    if not output.exists():  # it never began, and the same command works
        assert "--resume" not in reason
        return
    assert f"continue with: foveal train --resume --output {output}" in reason
    kept = [name for name in ("best", "last") if RunFolder(output).has(name)]
    assert "earlier checkpoint" not in reason or kept
    check_resumed(output, whole)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_disk_that_fills_up_after_a_checkpoint(
    checkpoint: str, photos: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    with disk_full_when_there_is(output / "checkpoints" / checkpoint):
        status = main(["train", str(photos), "--output", str(output), *OPTIONS])
    assert status == 2
    reason = capsys.readouterr().err.splitlines()[-1]
    assert reason.startswith(f"foveal: {output}/")
    assert f"continue with: foveal train --resume --output {output}" in reason
    assert foveal.load(output).checkpoint == "best"
    check_resumed(output, whole)


@pytest.mark.usefixtures("capsys")  # pytest's own file of messages is limited, too
def test_a_run_that_stops_in_its_first_phases_goes_on_with_its_pretrained_weights(
    tmp_path: Path,
) -> None:
    photos = miniatures.class_folders(tmp_path / "photos", {"a": 6, "b": 6}, size=(96, 128))
    weights = tmp_path / "small.pt"
    torch.save(Backbone("test_resnet", stage=-1).network.state_dict(), weights)
    command = ["train", str(photos), "--encoder", "test_resnet", "--weights", str(weights)]
    command += ["--patch", "32", "--k", "2", "--batch", "4", "--steps", "1", "--read-steps", "2"]
    command += ["--no-baseline", "--output"]
    whole, output = tmp_path / "whole", tmp_path / "run"
    assert main([*command, str(whole)]) == 0
    with disk_full_when_there_is(output / "phases" / "proposals.pt"):
        assert main([*command, str(output)]) == 2
    weights.unlink()
    check_resumed(output, whole)
