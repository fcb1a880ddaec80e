"""Cross-validation from the command line: ordinary runs, one report, and going on where stopped."""

import csv
import json
import os
import signal
import statistics
import threading
from pathlib import Path

import pytest

import foveal
import miniatures
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.report.folds import format_folds, summarise_folds

TRAIN = ["--encoder", "thin", "--steps", "2", "--batch", "4", "--patch", "32", "--k", "2"]
FOLDS = ["--folds", "3", "--seed", "1", "--accelerator", "cpu"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cats and dogs; boxes for the cats."""
    root = miniatures.class_folders(tmp_path_factory.mktemp("photos"), size=(64, 80))
    rows = [f"cat/{i}.png,0,0,32,32" for i in range(4)]
    (root / "boxes.csv").write_text("\n".join(["file,x0,y0,x1,y1", *rows]))
    return root


@pytest.fixture(scope="module")
def output(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "pets"
    assert main(["train", str(photos), "--output", str(output), *TRAIN, *FOLDS]) == 0
    return output


def files_tested(run: Path) -> list[str]:
    with (run / "data.csv").open() as table:
        return [row["file"] for row in csv.DictReader(table) if row["split"] == "test"]


def test_every_fold_is_a_run_and_together_they_test_every_image_once(
    photos: Path, output: Path
) -> None:
    files = [file for fold in range(3) for file in files_tested(output / f"fold{fold}")]
    assert sorted(files) == sorted(f"{p.parent.name}/{p.name}" for p in photos.glob("*/*.png"))


def test_a_fold_is_evaluated_on_its_own_part(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads((output / "cross_validation.json").read_text())
    for fold in range(3):
        run = output / f"fold{fold}"
        assert main(["evaluate", str(run), "--json"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["n"] == len(files_tested(run))
        assert again["confusion"] == whole["folds"][fold]["confusion"]
        for name in ("accuracy", "balanced_accuracy", "hit_rate", "chance_hit_rate"):
            assert again[name] == pytest.approx(whole["folds"][fold][name])
    assert whole["n"] == 10


def test_the_report_has_mean_and_spread_of_every_figure_that_is_known() -> None:
    folds = [
        {"n": 4, "accuracy": 0.5, "auroc": None, "hit_rate": 0.25},
        {"n": 5, "accuracy": 1.0, "auroc": None, "hit_rate": None},
        {"n": 4, "accuracy": 0.75, "auroc": None, "hit_rate": 0.75},
    ]
    summary = summarise_folds(folds)
    assert summary["accuracy"]["mean"] == 0.75
    assert summary["accuracy"]["deviation"] == pytest.approx(statistics.stdev((0.5, 1, 0.75)))
    assert summary["hit_rate"]["lowest"] == 0.25
    assert "auroc" not in summary
    rows = [line.split("|") for line in format_folds(summary).splitlines()]
    assert len(rows) == 2 + 3 + 3
    assert len({len(row) for row in rows}) == 1
    assert [cell.strip() for cell in rows[3][1:-1]] == ["1", "5", "100.0%", "-"]


def test_what_is_finished_is_kept_and_the_rest_is_done_again(
    photos: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = (output / "cross_validation.md").read_text()
    finished = (output / "fold0" / "checkpoints" / "best" / "model.safetensors").stat().st_mtime_ns
    (output / "cross_validation.md").unlink()
    (output / "fold1" / "evaluation.json").unlink()
    (output / "fold2").rename(output / "elsewhere")
    capsys.readouterr()
    assert main(["train", "--resume", "--output", str(output), "--folds", "3"]) == 0
    assert capsys.readouterr().out == report == (output / "cross_validation.md").read_text()
    weights = output / "fold0" / "checkpoints" / "best" / "model.safetensors"
    assert weights.stat().st_mtime_ns == finished
    assert files_tested(output / "fold2") == files_tested(output / "elsewhere")
    assert main(["train", "--resume", "--output", str(output), "--folds", "4"]) == 2
    assert "--folds 4 contradicts" in capsys.readouterr().err
    assert main(["evaluate", str(output)]) == 2
    assert "name one, such as" in capsys.readouterr().err


def test_folds_of_data_that_have_changed_do_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = miniatures.class_folders(tmp_path / "pets", size=(64, 80))
    output = ["--output", str(tmp_path / "run")]
    assert main(["train", str(data), *output, *TRAIN, "--folds", "2"]) == 0
    miniatures.write(data / "cat" / "new.png", miniatures.pixels(64, 80))
    assert main(["train", "--resume", *output]) == 2
    assert "have changed since fold 0" in capsys.readouterr().err


def test_an_interrupted_fold_goes_on_by_the_command_that_is_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"

    def interrupt() -> None:
        while not stop.wait(0.01):
            if (output / "fold1" / "metrics.csv").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    stop = threading.Event()
    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    often = ["--steps", "30", "--validate-every", "30", "--log-every", "1"]
    settings = [*TRAIN[:2], *TRAIN[4:], *often, *FOLDS]
    try:
        assert main(["train", str(photos), "--output", str(output), *settings]) == 130
    finally:
        stop.set()
        other.join()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"foveal train --resume --output {output}")
    assert not (output / "fold2").exists()
    assert main(["train", "--resume", "--output", str(output), "--accelerator", "cpu"]) == 0
    for fold in range(3):
        rows = (output / f"fold{fold}" / "metrics.csv").read_text().splitlines()
        assert [int(row["step"]) for row in csv.DictReader(rows)] == list(range(1, 31))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--folds", "1"], "folds=1, fold=0; give 2 folds or more"),
        (["--folds", "11"], "folds=11, but there are 10 images"),
        (["--fold", "1"], "--fold 1: give the number of parts too"),
        (["--folds", "3", "--fold", "3"], "folds=3, fold=3; give"),
        (["--folds", "3", "--devices", "2"], "train each fold by itself"),
        (["--folds", "3", "--k", "1000"], "k"),
    ],
)
def test_wrong_folds_are_one_line_and_leave_no_folder(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    output = tmp_path / "run"
    assert main(["train", str(photos), "--output", str(output), *TRAIN[:-2], *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_a_plan_gives_the_time_of_all_folds(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(photos), *TRAIN, *FOLDS[:4]]) == 0
    assert "3 folds, one after the other: about " in capsys.readouterr().out


def test_from_python_one_fold_is_one_run(photos: Path, tmp_path: Path) -> None:
    options = {"encoder": "thin", "steps": 1, "patch": 32, "k": 2, "accelerator": "cpu"}
    with pytest.raises(TypeError, match="give fold"):
        foveal.train(photos, output=tmp_path / "all", folds=3, **options)
    run = foveal.train(photos, output=tmp_path / "one", folds=3, fold=2, seed=1, **options)
    dataset, _ = run.labelled_images()
    assert len(dataset) == len(files_tested(run.path))
    with pytest.raises(UserError, match="give 2 folds"):
        foveal.train(photos, output=tmp_path / "none", folds=3, fold=4, **options)
