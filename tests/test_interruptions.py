"""A run that is killed at any moment goes on or begins again, and has one writer at a time."""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import miniatures
from fixtures import format1
from foveal._locks import LOCK, held_file, held_folder
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.runs.folder import RunFolder

OPTIONS = ["--encoder", "thin", "--view", "48", "48", "--patch", "16", "--k", "2", "--batch", "4"]
OPTIONS += ["--validate-every", "1", "--accelerator", "cpu", "--steps", "2"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"a": 4, "b": 4}
    return miniatures.class_folders(tmp_path_factory.mktemp("photos"), counts, size=(48, 64))


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", str(photos), "--output", str(output), *OPTIONS]) == 0
    return output


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run of an earlier version, to predict and explain with."""
    source = Path(format1.__file__).parent / "run_format1_folder" / "run"
    return Path(shutil.copytree(source, tmp_path / "trained"))


def in_a_fork(work: Callable[[], object]) -> int:
    """Start a forked process that does this and ends; its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def kill_when_there_is(file: Path, words: list[str]) -> None:
    """Run a command in a process that dies, without any warning, once a file exists."""

    def watch() -> None:
        while not file.exists():
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        threading.Thread(target=watch, daemon=True).start()
        main(words)

    _, status = os.waitpid(in_a_fork(work), 0)
    assert os.WIFSIGNALED(status)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "file", [LOCK, "versions", "checkpoints/.first.new", "model.yaml", "recipe.yaml", "metrics.csv"]
)
def test_a_run_killed_at_any_moment_goes_on_or_begins_again(
    file: str, photos: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    begin = ["train", str(photos), "--output", str(output), *OPTIONS]
    go_on = ["train", "--resume", "--output", str(output)]
    kill_when_there_is(output / file, begin)
    begun = (output / "recipe.yaml").exists()
    refused, works = (begin, go_on) if begun else (go_on, begin)
    capsys.readouterr()
    assert main(refused) == 2
    said = capsys.readouterr().err
    assert ("--resume" if begun else "begin again without --resume") in said
    assert main(works) == 0
    ended, expected = (RunFolder(path).weights("last") for path in (output, whole))
    assert all(torch.equal(ended[name], value) for name, value in expected.items())
    assert list(output.rglob(".*")) == []


def test_a_folder_of_something_else_is_never_cleared(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for others in (["data.csv"], [LOCK, "mine.txt"], [LOCK, "metrics.csv"], [LOCK, "recipe.yaml"]):
        folder = tmp_path / "-".join(others)
        folder.mkdir()
        for name in others:
            (folder / name).write_text("mine")
        assert main(["train", str(photos), "--output", str(folder), *OPTIONS]) == 2
        assert "is not empty" in capsys.readouterr().err
        assert sorted(os.listdir(folder)) == sorted(others)


def test_a_folder_has_one_writer_at_a_time(
    photos: Path, run: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(next(photos.rglob("*.png")))
    new, table = tmp_path / "new", tmp_path / "rows.csv"
    new.mkdir()
    begin = ["train", str(photos), "--output", str(new), *OPTIONS]
    predict = ["predict", str(trained), image, "--output", str(table)]
    before = content(run)
    for held, words in (
        (held_folder(run), ["train", "--resume", "--output", str(run)]),
        (held_folder(new), begin),
        (held_folder(new), [*begin, "--folds", "2"]),
        (held_file(table), predict),
        (held_file(table), [*predict, "--resume"]),
    ):
        capsys.readouterr()
        with held:
            assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        place = words[words.index("--output") + 1]
        assert line.startswith(f"foveal: {place}: another process is writing there")
    assert content(run) == before
    assert list(new.iterdir()) == []
    assert table.read_bytes() == b""


def test_a_lock_ends_with_the_process_that_holds_it_and_not_with_its_children(
    tmp_path: Path,
) -> None:
    reader, writer = os.pipe()

    def hold() -> None:
        with held_folder(tmp_path):
            child = in_a_fork(lambda: time.sleep(60))
            os.write(writer, child.to_bytes(4, "big"))
            time.sleep(60)

    holder = in_a_fork(hold)
    child = int.from_bytes(os.read(reader, 4), "big")
    try:
        with pytest.raises(UserError, match="another process"), held_folder(tmp_path):
            pass
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with held_folder(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_tidied_up(run: Path) -> None:
    state = RunFolder(run).state()["state"]
    last = run / "checkpoints" / "last"
    for left in (".seed.new", "phases/.found.pt.new", "phases/read/checkpoints/.best.new/x"):
        (run / left).parent.mkdir(parents=True, exist_ok=True)
        (run / left).touch()
    shutil.copytree(last, last.with_name(".last.new"))
    shutil.copytree(last.with_name("best"), last.with_name(".best.old"))
    last.rename(last.with_name(".last.old"))
    assert main(["train", "--resume", "--output", str(run)]) == 0
    assert list(run.rglob(".*")) == []
    assert RunFolder(run).state()["state"] == state


PLACES = (
    *("recipe.yaml", "model.yaml", "data.csv", "metrics.csv", "log", "checkpoints", "seed"),
    *("log/messages.txt", "checkpoints/last", "checkpoints/last/state.pt", "phases"),
    *(".metrics.csv.new", ".lock", "checkpoints/.last.new", "checkpoints/.best.old"),
)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_written_through_a_link_in_a_run(
    place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    if (run / place).exists():
        (run / place).rename(outside)
    else:
        outside.mkdir()
        (outside / "theirs").write_text("theirs")
    (run / place).symlink_to(outside)
    before = content(tmp_path)
    capsys.readouterr()
    assert main(["train", "--resume", "--output", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"foveal: {run / place} is a link")
    assert content(tmp_path) == before


@pytest.mark.parametrize("place", ["rows.csv", "page/.new", "page/pictures", "page/index.html"])
def test_no_output_is_written_through_a_link(
    place: str, photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, output = str(next(photos.rglob("*.png"))), tmp_path / place.split("/")[0]
    outside = tmp_path / "outside"
    (tmp_path / place).parent.mkdir(exist_ok=True)
    if output.suffix or place.endswith("html"):
        outside.write_text("theirs")
    else:
        outside.mkdir()
        (outside / "00001-theirs.png").write_text("theirs")
    (tmp_path / place).symlink_to(outside)
    before = content(outside) if outside.is_dir() else outside.read_text()
    command = "predict" if output.suffix else "explain"
    status = main([command, str(trained), image, "--output", str(output)])
    assert (content(outside) if outside.is_dir() else outside.read_text()) == before
    refused = place in ("rows.csv", "page/pictures")
    assert status == (2 if refused else 0)
    assert ("is a link" in capsys.readouterr().err) == refused


def test_the_death_of_a_process_that_loads_images_is_one_line_and_the_run_goes_on(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"

    def kill() -> None:
        while not (output / "metrics.csv").exists():
            time.sleep(0.001)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    words = ["train", str(photos), "--output", str(output), *OPTIONS[:-1], "8"]
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert main([*words, "--workers", "2"]) == 1
    killer.join()
    deadline = time.monotonic() + 20  # of a busy machine, to end the other one
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    line = errors.splitlines()[-1]
    assert line.startswith("foveal: 1 of 2 processes that load images died (exit status -9)")
    step = RunFolder(output).state()["state"]["step"]
    go_on = f"continue with: foveal train --resume --output {output}"
    assert line.endswith(f"; the checkpoint of step {step} is saved; {go_on}")
    assert main(["train", "--resume", "--output", str(output), "--workers", "2"]) == 0
    assert RunFolder(output).rows()[-1]["step"] == 8
