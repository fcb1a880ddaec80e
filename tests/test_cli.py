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
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from PIL import Image

import foveal
from foveal._signals import HungUp, Terminated
from foveal.cli import _recipes
from foveal.cli import main as cli
from foveal.cli import train as train_command
from foveal.cli._options import Options
from foveal.cli._spellings import modernise
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.field import TASKS as FIELD
from foveal.paper.benchmark import TASKS
from foveal.paper.recipes import find
from foveal.paper.tables.definitions import TABLES
from foveal.settings import Model, Optimisation
from full_disk import disk_full_after

TRAIN = ["--encoder", "thin", "--steps", "3", "--batch", "4", "--k", "2", "--seed", "1"]


def foveal_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, which then prints the heavy modules it has."""
    heavy = {"torch", "numpy", "PIL", "matplotlib", "lightning", "timm", "multiprocessing"}
    program = (
        "import sys; from foveal.cli.main import main; status = main(sys.argv[1:]);"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
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
    assert main(["train", str(photos), "--output", str(output), *TRAIN]) == 0
    return output


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """What is printed from here on."""
    return capsys


PAGES = [
    [],
    *([name] for name in cli.COMMANDS),
    *(["train", name] for name in (*_recipes.NAMES, "folder")),
    *(["data", name] for name in (*FIELD, *_recipes.NAMES)),
    *(["benchmark", name] for name in (*TASKS, "field", "large", "needle")),
    *(["reproduce", name] for name in TABLES),
]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["recipes"],
        ["train", "--help"],
        ["train", "billiards_mini", "--help"],
        ["predict", "--help"],
        ["data", "--help"],
        ["data", "boards", "--help"],
        ["benchmark", "selection", "--help"],
        ["benchmark", "field", "--help"],
        ["benchmark", "large", "--help"],
        ["reproduce", "table2", "--help"],
        ["train", "billiards_mini", "--stesp", "3"],
        ["train", "billiards_mini", "--batch", "0"],
    ],
)
def test_help_and_mistakes_import_nothing_heavy(arguments: list[str]) -> None:
    done = foveal_process(*arguments)
    assert done.returncode == (2 if arguments[-1] in "03" else 0)
    assert done.stderr.endswith("[]\n")
    assert " at 0x" not in done.stdout  # an object, where words should be


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_page_of_help_shows_its_options_with_dashes(
    words: list[str], said: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    page = said.readouterr().out
    assert page.startswith(f"Usage: foveal {' '.join(words)}".strip())
    for option in (word for word in page.split() if word.startswith("--")):
        assert "_" not in option


@pytest.mark.parametrize("word", ["train", "data", "benchmark", "reproduce"])
def test_help_is_shown_whatever_the_first_word(word: str, said: pytest.CaptureFixture[str]) -> None:
    assert main([word, "no such thing", "--help"]) == 0
    page, told = said.readouterr()
    assert page.startswith(f"Usage: foveal {word}")
    assert "no such thing" in told
    assert len(told.splitlines()) == 1


def test_help_names_every_command_recipe_task_and_table(said: pytest.CaptureFixture[str]) -> None:
    for words, names in (
        ([], cli.COMMANDS),
        (["train"], _recipes.NAMES),
        (["data"], (*FIELD, *_recipes.NAMES)),
        (["benchmark"], (*TASKS, "field", "large", "needle")),
        (["reproduce"], TABLES),
    ):
        assert main([*words, "--help"]) == 0
        page = said.readouterr().out
        assert [name for name in names if f"│ {name} " not in page] == []


@pytest.mark.parametrize("name", [*_recipes.NAMES, "folder"])
def test_every_option_of_a_recipe_has_a_help_text_and_a_name_of_its_own(name: str) -> None:
    ours = {parameter.name for parameter in Options(train_command.run).parameters}
    for parameter in Options(find(name)).parameters:
        (settings,) = get_args(parameter.annotation)[1:]
        assert len(settings.help) > 10, f"{name}: {parameter.name} has no help"
        assert parameter.name not in ours


@dataclass(frozen=True, kw_only=True)
class Small(Model):
    """A model with an option of its own.

    Attributes:
        hidden: number of hidden units.
    """

    hidden: int = 8


def recipe(
    *,
    model: Small = Small(k=4, hidden=16),
    optimisation: Optimisation = Optimisation(steps=7),
    seed: int = 0,
) -> None:
    """Do nothing.

    Args:
        model: the model.
        optimisation: the optimiser.
        seed: seed of all random numbers.
    """


def test_options_have_the_defaults_and_the_help_of_the_groups_of_a_recipe() -> None:
    options = {parameter.name: parameter for parameter in Options(recipe).parameters}
    assert options["k"].default == 4
    assert options["hidden"].default == 16
    assert options["steps"].default == 7
    for name, text in {
        "k": "number of patches",
        "hidden": "number of hidden units.",
        "seed": "seed of all random numbers.",
    }.items():
        assert get_args(options[name].annotation)[1].help.startswith(text)


def test_options_become_groups_again_and_what_is_not_given_keeps_its_default() -> None:
    groups = Options(recipe).group({"hidden": 3, "seed": 5, "output": "elsewhere"})
    assert groups == {
        "model": Small(k=4, hidden=3),
        "optimisation": Optimisation(steps=7),
        "seed": 5,
    }
    flat = Options(recipe).flatten(groups)
    assert Options(recipe).group(flat) == groups


def test_two_groups_with_a_field_of_one_name_are_refused() -> None:
    def twice(*, model: Model = Model(), other: Small = Small()) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="view"):
        Options(twice)


@pytest.mark.parametrize(
    ("earlier", "today"),
    [
        ("--view [224,384]", "--view 224 384"),
        ("--view=[224,384]", "--view 224 384"),
        ("--flip true --k 3", "--flip --k 3"),
        ("--flip=false", "--no-flip"),
        ("--scorer_learning_rate 0.3", "--scorer-lr-scale 0.3"),
        ("--aggregate max", "--aggregator max"),
        ("--stage 2", "--encoder-stage 2"),
        ("--scorer_frozen true", "--freeze-scorer"),
        ("--clip 2", "--clip-norm 2"),
        ("--class_weights true", "--balance"),
        ("--class_weights [1,2]", "--class-weights 1 2"),
        ('--settings {"k":2,"flip":true}', "--k 2 --flip"),
        ("--learning_rate 1 x --weight-decay -1", "--learning_rate 1 x --weight-decay -1"),
    ],
)
def test_earlier_spellings_are_replaced_and_named_once(
    earlier: str, today: str, said: pytest.CaptureFixture[str]
) -> None:
    parameters = Options(find("folder")).parameters
    assert modernise(earlier.split(), parameters) == today.split()
    assert said.readouterr().err.count("deprecated") == (earlier != today)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["train"], "name your data or a recipe"),
        (["train", "billiard_mini"], "did you mean billiards_mini?"),
        (["train", "/nowhere"], "/nowhere: no such folder or CSV, and no recipe of this name"),
        (["train", "folder"], "--data requires an argument"),
        (["train", "folder", "--data", "x", "--learning-rat", "1"], "Did you mean --learning-rate"),
        (["train", "folder", "--data", "x", "--k", "many"], 'for --k: unable to convert "many"'),
        (["train", "folder", "--data", "x", "--view", "3"], "--view requires 2 positional"),
        (["train", "folder", "--data", "x", "--batch"], "--batch requires an argument"),
        (["train", "folder", "--data", "x", "y"], "unexpected argument 'y'"),
        (["train", "folder", "--data", "x", "--settings", "{k"], "give a JSON object of options"),
        (["train", "folder", "--data", "x", "--settings", "[" * 5000], "give a JSON object"),
        (["train", "folder", "--data", "/nowhere"], "/nowhere: no such folder or CSV"),
        (["train", "billiards", "--estimator", "exat"], 'Did you mean "exact"?'),
        (["train", "billiards_mini", "--batch", "0"], "batch must be 1 or more"),
        (["train", "billiards_mini", "--devices", "0"], "devices must be 1 or more"),
        (["train", "billiards_mini", "--precision", "8"], 'Choose from: "auto"'),
        (["train", "--resume"], "foveal train --resume --output RUN"),
        (["train", "billiards_mini", "--resume", "--output", "/nowhere"], "is not a run folder"),
        (["evaluate"], "RUN requires an argument"),
        (["evaluate", "/nowhere"], "/nowhere is not a run folder"),
        (["predict", "/nowhere"], "IMAGES requires an argument"),
        (["predict", "/nowhere", "x", "--output", "x.txt"], "must end in .csv, .jsonl or .parquet"),
        (["explain", "/nowhere", "x"], "--output requires an argument"),
        (["benchmark"], "name a task: selection"),
        (["benchmark", "taste"], "unknown task 'taste'"),
        (["reproduce", "table22"], "unknown table 'table22': did you mean table2?"),
        (["data"], "name a task or recipe: street-prohibitory"),
        (["data", "bird"], "did you mean birds?"),
        (["data", "boards", "--output", "x"], "--source requires an argument"),
        (["data", "billiards_mini"], "--output requires an argument"),
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


def test_without_a_command_the_help_is_shown_and_the_status_is_2(
    said: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    out, err = said.readouterr()
    assert out.startswith("Usage: foveal COMMAND")
    assert err == "foveal: name a command\n"
    assert main(["--version"]) == 0
    assert said.readouterr().out == f"{foveal.__version__}\n"


def test_a_value_out_of_range_leaves_no_folder(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert main(["train", "billiards_mini", "--batch", "0", "--output", str(output)]) == 2
    assert not output.exists()


def test_only_what_the_user_can_mend_hides_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(error: BaseException) -> int:
        def recipes() -> int:
            """Fail."""
            raise error

        monkeypatch.setattr(cli, "COMMANDS", {"recipes": recipes})
        return main(["recipes"])

    assert run(UserError("x")) == 2
    assert run(OSError(errno.ENOSPC, "No space left on device", "/full")) == 2
    assert run(KeyboardInterrupt()) == 130
    assert run(Terminated()) == 143
    assert run(HungUp()) == 129
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
    for name in ("recipe.yaml", "model.yaml", "metrics.csv", "seed", "versions", "log"):
        assert (run / name).exists()
    for checkpoint in ("best", "last"):
        assert (run / "checkpoints" / checkpoint / "model.safetensors").is_file()
    assert (run / "seed").read_text() == "1\n"


def test_training_says_what_it_chose_and_what_comes_next(
    photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "run")
    assert main(["train", str(photos), "--output", output, *TRAIN]) == 0
    out, err = said.readouterr()
    assert out.startswith(f"{output} on its test images: 2 images\n  accuracy")
    assert "inferred from the images: view 48 x 64" in err
    assert "fewer than 20 images" in err
    assert f"foveal explain {output}" in err


def test_an_earlier_run_is_not_overwritten(
    run: Path, photos: Path, said: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(photos), "--output", str(run)]) == 2
    assert "--resume" in said.readouterr().err


def test_a_run_that_never_began_leaves_no_folder(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    settings = ["--output", str(output), *TRAIN]
    assert main(["train", str(photos), *settings, "--devices", "99"]) == 2
    assert not output.exists()


def test_the_run_keeps_the_options_that_were_given(run: Path) -> None:
    options = yaml.safe_load((run / "recipe.yaml").read_text())["options"]
    assert (options["model"]["k"], options["model"]["encoder"], options["seed"]) == (2, "thin", 1)
    assert (options["optimisation"]["steps"], options["optimisation"]["batch"]) == (3, 4)


def test_the_earlier_command_for_own_images_gives_the_same_run(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    words = ["--data", str(photos), "--output", str(output), *TRAIN]
    assert main(["train", "folder", *words]) == 0
    assert (output / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()


def test_a_run_is_named_after_its_data(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(photos), *TRAIN]) == 0
    assert (tmp_path / "runs" / photos.name / "recipe.yaml").is_file()


def test_resuming_needs_no_options_and_refuses_contradictions(
    run: Path, photos: Path, said: pytest.CaptureFixture[str]
) -> None:
    resume = ["--resume", "--output", str(run)]
    for target in ([], ["folder"], [str(photos)]):
        assert main(["train", *target, *resume]) == 0
    assert main(["train", *resume, "--k", "2", "--view", "48", "64"]) == 0
    said.readouterr()
    assert main(["train", *resume, "--k", "3"]) == 2
    assert f"--k 3 contradicts the run in {run}, begun with k=2: leave it" in said.readouterr().err
    assert main(["train", str(run), *resume]) == 2
    assert f"--data {run} contradicts the run" in said.readouterr().err
    assert main(["train", "billiards", *resume]) == 2
    assert "is a run of the recipe folder, not of billiards" in said.readouterr().err


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_run_says_how_to_go_on_and_does(
    photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str], number: int, expected: int
) -> None:
    output = tmp_path / "a run"
    settings = [str(photos), "--output", str(output), *TRAIN[:2], "--steps", "30", *TRAIN[4:]]
    settings += ["--validate-every", "30", "--log-every", "1"]

    def interrupt() -> None:
        while not stop.wait(0.01):
            if (output / "metrics.csv").exists():
                os.kill(os.getpid(), number)
                return

    stop = threading.Event()
    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    try:
        status = main(["train", *settings])
    finally:
        stop.set()
        other.join()
    assert status == expected
    err = said.readouterr().err.splitlines()
    assert err[-1].startswith("foveal: interrupted: stopped at step")
    assert err[-1].endswith(f"foveal train --resume --output '{output}'")
    assert main(["train", "--resume", "--output", str(output)]) == 0
    rows = list(csv.DictReader((output / "metrics.csv").read_text().splitlines()))
    assert rows[-1]["step"] == "30"


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
    windows = json.loads(rows[1]["windows"])
    assert all(y1 - y0 == 48 == x1 - x0 for x0, y0, x1, y1 in windows)
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


def test_a_full_disk_is_one_line(
    run: Path, photos: Path, said: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "out.csv"
    with disk_full_after(10):
        assert main(["predict", str(run), str(photos / "red"), "--output", str(target)]) == 2
    (line,) = said.readouterr().err.splitlines()
    assert line.startswith(f"foveal: {target}: cannot be written (File too large): free some space")
    assert target.read_bytes() == b""


def test_explanations_know_the_truth_where_folders_tell_it(
    run: Path, photos: Path, tmp_path: Path, said: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page"
    assert main(["explain", str(run), str(photos), "--output", str(page)]) == 0
    assert said.readouterr().out == f"{page / 'index.html'}\n"
    assert len(list((page / "pictures").iterdir())) == 16
    text = (page / "index.html").read_text().lower()
    assert "accuracy" in text
    assert "hit rate" in text


def test_explanations_go_on_past_a_bad_file(run: Path, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    page, good = tmp_path / "page", photos / "red" / "0.png"
    assert main(["explain", str(run), str(bad), str(good), "--output", str(page)]) == 0
    assert len(list((page / "pictures").iterdir())) == 1
    features = json.loads((page / "windows.geojson").read_text())["features"]
    assert [each["properties"]["file"] for each in features] == 2 * [str(good)]


def test_a_benchmark_can_be_read_by_programs(said: pytest.CaptureFixture[str]) -> None:
    small = "--candidates 16 --k 2 --samples 2 3 --problems 1 --draws 2 --pictures 1"
    assert main(["benchmark", "estimators", *small.split(), "--json"]) == 0
    measured = json.loads(said.readouterr().out)
    assert measured["settings"]["samples"] == [2, 3]
    assert {row["samples"] for row in measured["rows"]} >= {2, 3}


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
