"""The command line: help costs no torch, mistakes are one line, and a run goes from end to end."""

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.cli import main as cli
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.report import rows as tables

TRAIN = ["--encoder", "thin", "--steps", "3", "--batch", "4", "--k", "2", "--seed", "1"]


def foveal_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, which then says whether torch was imported."""
    program = (
        "import sys; from foveal.cli.main import main; status = main(sys.argv[1:]);"
        "print('torch' in sys.modules, file=sys.stderr); sys.exit(status)"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 8 small images, with one box each."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    boxes = ["file,x0,y0,x1,y1"]
    for colour, channel in (("blue", 2), ("red", 0)):
        (root / colour).mkdir()
        for number in range(8):
            pixels = random.integers(60, 120, (96, 128, 3), dtype=np.uint8)
            pixels[8:24, 40:56, channel] = 255
            Image.fromarray(pixels).save(root / colour / f"{number}.png")
            boxes.append(f"{colour}/{number}.png,40,8,56,24")
    (root / "boxes.csv").write_text("\n".join(boxes))
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps."""
    output = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "folder", "--data", str(photos), "--output", str(output), *TRAIN]) == 0
    return output


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """What is printed from here on."""
    return capsys


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "folder", "--help"],
        ["recipes"],
        ["benchmark", "selection", "--help"],
        ["reproduce", "--help"],
        ["reproduce", "table2", "--help"],
    ],
)
def test_help_costs_no_torch(arguments: list[str]) -> None:
    done = foveal_process(*arguments)
    assert done.returncode == 0
    assert done.stderr == "False\n"
    assert "foveal" in done.stdout or "folder" in done.stdout
    assert " at 0x" not in done.stdout  # an object, where words should be


def test_help_names_every_command_and_recipe(said: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert all(f"  {name} " in said.readouterr().out for name in ["train"])
    for command in ("train", "data"):
        assert main([command, "--help"]) == 0
        assert all(name in said.readouterr().out for name in ["billiards_mini"])
    assert main(["recipes"]) == 0
    lines = said.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(foveal.paper.recipes.NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian': did you mean train?"),
        (["train"], "name a recipe first"),
        (["train", "foldre"], "did you mean folder?"),
        (["train", "folder"], "--data must be given"),
        (
            ["train", "folder", "--data", "x", "--learning-rate", "1"],
            "did you mean --learning_rate?",
        ),
        (
            ["train", "folder", "--data", "x", "--k", "many"],
            "--k must be whole number or null: got",
        ),
        (["train", "folder", "--data", "x", "--view", "3"], "--view must be [whole number, whole"),
        (["train", "folder", "--data", "x", "--batch"], "--batch: expected one argument"),
        (["train", "billiards", "--estimator", "x"], "--estimator must be exact or conditional"),
        (["train", "folder", "--data", "/nowhere"], "/nowhere: no such folder or CSV"),
        (["train", "billiards_mini", "--batch", "0"], "batch must be 1 or more"),
        (["train", "billiards_mini", "--precision", "8"], "precision must be one of"),
        (["train", "billiards_mini", "--resume", "--output", "/nowhere"], "is not a run folder"),
        (["evaluate"], "RUN must be given"),
        (["evaluate", "/nowhere"], "/nowhere is not a run folder"),
        (["predict", "/nowhere"], "IMAGES must be given"),
        (["predict", "/nowhere", "x", "--output", "x.txt"], "must end in .csv or .jsonl"),
        (["explain", "/nowhere", "x"], "--output must be given"),
        (["benchmark", "taste"], "unknown task 'taste'"),
        (["data", "billiards_mini"], "--output must be given"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, said: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = said.readouterr()
    assert out == ""
    assert err.startswith("foveal: ")
    assert err.count("\n") == 1
    assert message in err


def test_only_what_the_user_can_mend_hides_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(error: BaseException) -> int:
        def command(arguments: list[str]) -> int:
            raise error

        monkeypatch.setitem(cli.COMMANDS, "recipes", command)
        return main(["recipes"])

    assert run(UserError("x")) == 2
    assert run(OSError(errno.ENOSPC, "No space left on device", "/full")) == 2
    assert run(KeyboardInterrupt()) == 130
    for bug in (OSError(errno.EIO, "broken"), ValueError("bug"), KeyError("bug")):
        with pytest.raises(type(bug)):
            run(bug)


def test_a_closed_pipe_is_no_error() -> None:
    program = "import sys; from foveal.cli.main import main; sys.exit(main(['recipes']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_run_folder_is_complete(run: Path) -> None:
    for name in ("recipe.yaml", "metrics.csv", "seed", "versions", "log"):
        assert (run / name).exists()
    for checkpoint in ("best", "last"):
        assert (run / "checkpoints" / checkpoint / "model.safetensors").is_file()
    assert (run / "seed").read_text() == "1\n"


def test_training_says_what_it_chose_and_what_comes_next(
    photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "run")
    assert main(["train", "folder", "--data", str(photos), "--output", output, *TRAIN]) == 0
    out, err = said.readouterr()
    assert out.startswith(f"{output} on its test images: 2 images\n  accuracy")
    assert "chosen from the images: view 48 x 64" in err
    assert "fewer than 20 images" in err
    assert f"foveal explain {output}" in err


def test_an_earlier_run_is_not_overwritten(
    run: Path, photos: Path, said: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "folder", "--data", str(photos), "--output", str(run)]) == 2
    assert "--resume" in said.readouterr().err


def test_a_run_that_never_began_leaves_no_folder(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    settings = ["--data", str(photos), "--output", str(output), *TRAIN]
    assert main(["train", "folder", *settings, "--devices", "99"]) == 2
    assert not output.exists()


def test_resuming_needs_no_settings_and_refuses_other_ones(
    run: Path, photos: Path, said: pytest.CaptureFixture[str]
) -> None:
    resume = ["train", "folder", "--resume", "--output", str(run)]
    assert main(resume) == 0
    assert main([*resume, "--k", "2", "--data", str(photos)]) == 0
    said.readouterr()
    assert main([*resume, "--k", "3"]) == 2
    assert "--k 3 is not what the run" in said.readouterr().err
    assert main(["train", "billiards", "--resume", "--output", str(run)]) == 2
    assert "recipe folder, not of billiards" in said.readouterr().err


def test_an_interrupted_run_says_how_to_go_on_and_does(
    photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a run"
    settings = ["--data", str(photos), "--output", str(output), *TRAIN, "--steps", "60"]

    def interrupt() -> None:
        while not stop.wait(0.05):
            if (output / "metrics.csv").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    stop = threading.Event()
    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    try:
        status = main(["train", "folder", *settings])
    finally:
        stop.set()
        other.join()
    assert status == 130
    err = said.readouterr().err.splitlines()
    assert err[-1].startswith("foveal: interrupted: stopped at step")
    assert err[-1].endswith(f"foveal train folder --resume --output '{output}'")
    assert main(["train", "folder", "--resume", "--output", str(output)]) == 0
    rows = list(csv.DictReader((output / "metrics.csv").read_text().splitlines()))
    assert rows[-1]["step"] == "60"


def test_evaluation_is_one_json_object(
    run: Path, photos: Path, said: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--data", str(photos), "--json"]) == 0
    found = json.loads(said.readouterr().out)
    assert found["n"] == 16
    assert set(found["per_class"]) == {"blue", "red"}
    assert 0 <= found["balanced_accuracy"] <= found["accuracy"] + 1e-9
    assert 0 <= found["hit_rate"] <= 1


def test_evaluation_without_data_is_on_the_test_images(
    run: Path, said: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run)]) == 0
    assert "its test images: 2 images" in said.readouterr().out


def test_evaluation_takes_the_test_part_where_there_is_one(
    run: Path, photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    rows = [f"{photos}/red/0.png,red,test", f"{photos}/blue/0.png,blue,train"]
    table.write_text("\n".join(["file,label,split", *rows]))
    assert main(["evaluate", str(run), "--data", str(table), "--json"]) == 0
    assert json.loads(said.readouterr().out)["n"] == 1


def test_a_label_the_model_does_not_know_is_a_mistake(
    run: Path, photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label\n{photos}/red/0.png,crimson")
    assert main(["evaluate", str(run), "--data", str(table)]) == 2
    assert "unknown class 'crimson'" in said.readouterr().err


def test_predictions_are_a_row_an_image_and_bad_files_go_on(
    run: Path, photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / 'bad, "name".png'
    bad.write_bytes(b"nothing")
    assert main(["predict", str(run), str(bad), str(photos / "red")]) == 0
    out, err = said.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["file"] for row in rows[:2]] == [str(bad), str(photos / "red" / "0.png")]
    assert len(rows) == 9
    assert rows[0]["error"]
    assert rows[0]["label"] == rows[0]["probability"] == rows[0]["windows"] == ""
    assert rows[1]["label"] in ("blue", "red")
    windows = [list(map(int, window.split())) for window in rows[1]["windows"].split(";")]
    assert all(bottom - top == 48 == right - left for top, left, bottom, right in windows)
    assert len(windows) == 2
    assert "1 of 9 images" in err


def test_json_lines_hold_the_probabilities(run: Path, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "predictions.jsonl"
    assert main(["predict", str(run), str(photos / "red"), "--output", str(file)]) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 8
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    assert rows[0]["probability"] == max(rows[0]["probabilities"].values())


def test_nothing_but_bad_files_is_a_mistake(run: Path, tmp_path: Path) -> None:
    assert main(["predict", str(run), str(tmp_path / "none.png")]) == 2


def test_predictions_are_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), tables.replacing(file) as out:
        out.write(str(1 / 0))
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_one_line(
    run: Path, photos: Path, said: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / ".out.csv.new").symlink_to("/dev/full")
    target = tmp_path / "out.csv"
    assert main(["predict", str(run), str(photos / "red"), "--output", str(target)]) == 2
    assert "No space left on device" in said.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_explanations_know_the_truth_where_folders_tell_it(
    run: Path, photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page"
    assert main(["explain", str(run), str(photos), "--output", str(page)]) == 0
    assert said.readouterr().out == f"{page / 'index.html'}\n"
    assert len(list((page / "pictures").iterdir())) == 16
    assert (
        "Accuracy" in (page / "index.html").read_text()
        or "accuracy" in (page / "index.html").read_text()
    )


def test_explanations_go_on_past_a_bad_file(run: Path, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    page, good = tmp_path / "page", photos / "red" / "0.png"
    assert main(["explain", str(run), str(bad), str(good), "--output", str(page)]) == 0
    assert len(list((page / "pictures").iterdir())) == 1


def test_a_benchmark_can_be_read_by_programs(said: pytest.CaptureFixture[str]) -> None:
    small = [
        "--batch",
        "1",
        "--candidates",
        "9",
        "--slots",
        "2",
        "--samples",
        "2",
        "--repeats",
        "1",
    ]
    estimators = ["--estimators", "[exact]", "--json"]
    assert main(["benchmark", "selection", *small, *estimators]) == 0
    assert json.loads(said.readouterr().out)["task"] == "selection"


def test_generated_images_are_written_as_files(tmp_path: Path) -> None:
    counts = ["--train", "1", "--validation", "1", "--test", "1", "--size", "64"]
    assert main(["data", "billiards_mini", *counts, "--output", str(tmp_path)]) == 0
    for part in ("train", "valid", "test"):
        assert len(list((tmp_path / part).glob("*.png"))) == 1


def test_a_recipe_for_the_users_own_images_writes_none(
    photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "folder", "--data", str(photos), "--output", str(tmp_path / "x")]) == 2
    assert "nothing to write" in said.readouterr().err


def test_the_package_gives_its_names_when_asked() -> None:
    assert all(hasattr(foveal, name) for name in foveal.__all__)
    assert set(foveal.__all__) == set(dir(foveal))
    with pytest.raises(AttributeError, match="no attribute 'eyes'"):
        _ = foveal.eyes
