"""Laws of run folders: whatever happens, what was there is intact or replaced as a whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from foveal.errors import UserError
from foveal.runs.folder import RunFolder
from full_disk import disk_full_after


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs" / "one")


def weights(value: float) -> dict[str, Tensor]:
    return {"a.weight": torch.full((2, 3), value), "a.count": torch.tensor(7)}


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_what_is_saved_is_what_is_loaded(run: RunFolder):
    state = {"step": 3, "seconds": 0.1, "optimiser": {0: {"momentum": torch.rand(4)}}, "best": None}
    run.save("last", weights(0.1), state)
    assert all(torch.equal(run.weights("last")[n], w) for n, w in weights(0.1).items())
    loaded = run.state()
    assert torch.equal(loaded["optimiser"][0]["momentum"], state["optimiser"][0]["momentum"])
    assert (loaded["step"], loaded["seconds"], loaded["best"]) == (3, 0.1, None)


def test_a_second_save_replaces_the_first_and_leaves_nothing_else(run: RunFolder):
    run.save("last", weights(1), {"step": 1})
    run.save("best", weights(1))
    run.save("last", weights(2), {"step": 2})
    assert run.weights("last")["a.weight"][0, 0] == 2
    assert run.weights("best")["a.weight"][0, 0] == 1
    assert files(run.path / "checkpoints") == {
        "last", "last/model.safetensors", "last/state.pt", "best", "best/model.safetensors"
    }  # fmt: skip


def test_tied_weights_can_be_saved(run: RunFolder):
    shared = torch.rand(3)
    run.save("best", {"a": shared, "b": shared})
    assert torch.equal(run.weights("best")["a"], run.weights("best")["b"])


def test_a_full_disk_leaves_the_old_checkpoint_intact(run: RunFolder):
    run.save("last", weights(1), {"step": 1})
    before = files(run.path)
    with disk_full_after(2000), pytest.raises(UserError, match="is intact") as error:
        run.save("last", {"big": torch.zeros(10_000)}, {"step": 2})
    assert "\n" not in str(error.value)
    assert files(run.path) == before
    assert run.weights("last")["a.weight"][0, 0] == 1
    assert run.state() == {"step": 1}


def test_a_full_disk_leaves_the_old_recipe_intact(run: RunFolder):
    run.write_recipe({"recipe": "folder"})
    before = files(run.path)
    with disk_full_after(10), pytest.raises(UserError, match=r"recipe\.yaml: cannot be written"):
        run.write_recipe({"recipe": "another" * 10})
    assert files(run.path) == before
    assert run.read_recipe() == {"recipe": "folder"}


SAVER = """
import sys, torch
from foveal.runs.folder import RunFolder
run, value = RunFolder(sys.argv[1]), 2
print("ready", flush=True)
while True:
    run.save("last", {"a": torch.full((50_000,), float(value))}, {"step": value})
    value += 1
"""


@pytest.mark.parametrize("milliseconds", [20, 45, 80])
def test_a_kill_at_any_moment_leaves_one_complete_checkpoint(run: RunFolder, milliseconds: int):
    run.save("last", {"a": torch.full((50_000,), 1.0)}, {"step": 1})
    saver = subprocess.Popen([sys.executable, "-c", SAVER, run.path], stdout=subprocess.PIPE)
    assert saver.stdout is not None
    saver.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        saver.wait(milliseconds / 1000)
    saver.kill()
    saver.communicate()
    assert run.weights("last")["a"].unique().tolist() == [float(run.state()["step"])]


def test_a_save_cut_short_between_its_two_moves_is_mended(run: RunFolder):
    run.save("last", weights(1), {"step": 1})
    place = run.path / "checkpoints" / "last"
    place.rename(place.with_name(".last.old"))
    (place.with_name(".last.new")).mkdir()
    assert run.has("last")
    assert run.state() == {"step": 1}
    run.save("last", weights(2), {"step": 2})
    assert run.state() == {"step": 2}
    assert files(run.path / "checkpoints") == {"last", "last/model.safetensors", "last/state.pt"}


def test_code_in_a_state_is_never_executed(run: RunFolder, tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "sprung"),)

    run.save("last", weights(1), {"step": 1})
    torch.save({"step": Trap()}, run.path / "checkpoints" / "last" / "state.pt")
    with pytest.raises(UserError, match="damaged"):
        run.state()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100])
def test_damaged_files_are_named_in_one_line(run: RunFolder, content: bytes):
    run.save("last", weights(1), {"step": 1})
    for file in (run.path / "checkpoints" / "last").iterdir():
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        run.weights("last")
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        run.state()


def test_a_missing_checkpoint_is_a_users_mistake(run: RunFolder):
    assert not run.has("best")
    with pytest.raises(UserError, match=r"best.*cannot be read \(No such file"):
        run.weights("best")
    with pytest.raises(UserError, match=r"state\.pt: cannot be read"):
        run.state()


def test_a_folder_with_something_in_it_is_not_taken_for_a_new_run(run: RunFolder, tmp_path: Path):
    with pytest.raises(UserError, match=r"is not empty.*--output.*--resume"):
        RunFolder.create(run.path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not empty"):
        RunFolder.create(tmp_path / "file")
    with pytest.raises(UserError, match="cannot make a folder"):
        RunFolder.create(tmp_path / "file" / "run")
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty")


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
def test_later_processes_of_a_distributed_run_take_the_folder_made_by_the_first(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, variable: str
):
    monkeypatch.setenv(variable, "1")
    assert RunFolder.create(run.path).path == run.path
    monkeypatch.setenv(variable, "0")
    with pytest.raises(UserError):
        RunFolder.create(run.path)


def test_only_a_folder_with_a_recipe_is_a_run(run: RunFolder, tmp_path: Path):
    with pytest.raises(UserError, match="there is no such folder"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no recipe\.yaml"):
        RunFolder.open(run.path)
    run.write_recipe({"recipe": "folder"})
    assert RunFolder.open(run.path).read_recipe() == {"recipe": "folder"}


def test_a_recipe_is_plain_yaml_in_the_order_given(run: RunFolder):
    recipe = {"b": 1, "a": {"size": [3, 4], "data": "x/y", "rate": 1e-4, "none": None}}
    run.write_recipe(recipe)
    assert list(run.read_recipe()) == ["b", "a"]
    assert run.read_recipe()["a"] == {"size": [3, 4], "data": "x/y", "rate": 1e-4, "none": None}
    assert "!!" not in run.recipe_file.read_text()


@pytest.mark.parametrize("text", ["a: [", "just words", "!!python/object/apply:os.getcwd []"])
def test_a_damaged_recipe_is_a_users_mistake(run: RunFolder, text: str):
    run.recipe_file.write_text(text)
    with pytest.raises(UserError, match=r"recipe\.yaml is damaged"):
        run.read_recipe()


def test_metrics_are_read_as_they_were_written(run: RunFolder):
    rows = [{"step": 1, "loss": 0.1, "rate": None}, {"step": 2, "loss": 1 / 3, "rate": 1e-30}]
    for row in rows:
        run.append(row)
    assert run.rows() == rows
    assert run.metrics_file.read_text() == f"step,loss,rate\n1,0.1,\n2,{1 / 3!r},1e-30\n"


def test_metrics_after_a_step_are_cut(run: RunFolder):
    assert run.cut(5) == []
    for step in range(1, 6):
        run.append({"step": step, "loss": step / 10})
    text = run.metrics_file.read_text()
    with run.metrics_file.open("a") as file:
        file.write("6,0.")
    assert len(run.rows()) == 5
    assert run.cut(3) == run.rows()
    assert run.metrics_file.read_text() == text[: text.index("4,")]
    for step in (4, 5):
        run.append({"step": step, "loss": step / 10})
    assert run.metrics_file.read_text() == text
    assert run.cut(0) == []
    run.append({"step": 1, "loss": 0.1})
    assert run.metrics_file.read_text() == "step,loss\n1,0.1\n"


def test_versions_seed_and_log_are_plain_text(run: RunFolder):
    run.write_seed(42)
    run.note("first")
    run.note("second")
    assert (run.path / "seed").read_text() == "42\n"
    assert f"torch {torch.__version__}" in (run.path / "versions").read_text()
    lines = (run.log / "messages.txt").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["first", "second"]


def test_the_versions_file_is_yaml_like_enough_to_read(run: RunFolder):
    names = [line.split(" ")[0] for line in (run.path / "versions").read_text().splitlines()]
    assert names == ["foveal", "torch", "torchvision", "timm", "python", "platform"]
    assert yaml.safe_load((run.path / "versions").read_text())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("baseline", {"accuracy": "x", "balanced_accuracy": 0.5}),
        ("mixture", {"view": 1.0}),
        ("mixture", {"view": 1.0, "windows": 0.5, "unknown": 7}),
        ("global_head", {"accuracy": 0.5, "balanced_accuracy": 0.5, "weight": 7}),
        ("proposals", {"found": 7, "windows": {}}),
        ("taught", {"model": {"weight": [1, 2]}}),
        ("times", {"read": []}),
    ],
)
def test_what_a_phase_kept_is_of_its_type(run: RunFolder, name: str, content: dict[str, object]):
    run.keep(name, content)
    with pytest.raises(UserError, match=rf"{name}\.pt\.\w+.*: got ") as error:
        run.kept(name)
    assert "\n" not in str(error.value)
