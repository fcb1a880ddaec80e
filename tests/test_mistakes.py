"""A mistake is one line that names it, before anything is made or trained."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import miniatures
from foveal._terminal import printable
from foveal.cli.main import main
from foveal.data import wrap
from foveal.data.folder import read_folder, read_whole
from foveal.errors import UserError

TRAIN = ["--encoder", "thin", "--view", "64", "64", "--patch", "32"]
TRAIN += ["--batch", "4", "--steps", "1"]


def photos(root: Path) -> Path:
    return miniatures.class_folders(root, {"a": 6, "b": 6}, size=(64, 96))


def with_a_long_image(root: Path) -> Path:
    """300 images for training; one that no sample of 200 of them need contain is 4 x 640 px."""
    rows = []
    for index in range(304):
        part = "train" if index < 300 else "val"
        size = (4, 640) if index == 2 else (64, 96)
        file = miniatures.write(root / f"{index}.png", miniatures.pixels(*size, seed=index))
        rows.append((file.name, "ab"[index % 2], part))
    return miniatures.table(root / "t.csv", "file,label,split", rows)


def with_a_cut_image(root: Path) -> Path:
    file = photos(root) / "a" / "3.png"
    miniatures.truncated(file, file)
    return root


def with_header(header: str, row: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        miniatures.write(root / "x.png", miniatures.pixels(64, 96))
        (root / "t.csv").write_text(f"{header}\n{row}\n")
        return root / "t.csv"

    return write


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (with_a_long_image, "--k 10", "2.png (4 x 640 px): "),
        (with_a_cut_image, "", "a/3.png"),
        (photos, "--seed=-1", "seed must be 0 or more"),
        (photos, f"--seed {2**63}", "seed must be below 2^63"),
        (photos, "--class-weights 1 2 3", "got 3 weights for 2 classes (a, b)"),
        (photos, "--class-weights 1 -2", "class_weights must be 0 or more"),
        (photos, "--weights nowhere.pt", "no weights at nowhere.pt"),
        (photos, "--multilabel", "class folders give one class per image"),
        (with_header("file,label,label", "x.png,a,b"), "", "names label more than once"),
        (with_header("file,File,label", "x.png,x.png,a"), "", "names file more than once"),
        (with_header("file,label", "x.png,a"), "", "only one class, 'a'"),
        (with_header("file,label", "y.png,a"), "", "1 of 1 files are missing: y.png"),
        (with_header("file,label,split", "x.png,a,learn"), "", "unknown split 'learn'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(
    data: Callable[[Path], Path],
    options: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "runs" / "run"
    command = ["train", str(data(tmp_path / "data")), "--output", str(output)]
    assert main([*command, *TRAIN, *options.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert not output.parent.exists()


def test_nearly_equal_class_names_are_pointed_out(tmp_path: Path) -> None:
    for name in ("Caf\u00e9", "cafe\u0301", "tea"):
        miniatures.write(tmp_path / name / "0.png", miniatures.pixels(4, 4))
    (note,) = read_whole(tmp_path).notes
    assert note.startswith("warning: nearly the same name for several classes: ")
    assert all(repr(name) in note for name in ("Caf\u00e9", "cafe\u0301"))
    assert "tea" not in note


def test_classes_of_the_same_name_are_refused() -> None:
    with pytest.raises(ValueError, match="a is repeated"):
        wrap([(miniatures.pixels(4, 4), 0)], classes=["a", "b", "a"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_any_name_can_be_printed_on_any_terminal(encoding: str, tmp_path: Path) -> None:
    program = (
        "from foveal.cli import main; main._print_any_name(); import sys;"
        r"print('K\u00e4fer \u732b \udce9'); print('\u732b \udce9', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_no_name_acts_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acting = "ca\x1b[2Jt\x9b\u202e"
    root = miniatures.class_folders(tmp_path / "a\x07", {acting: 4, "dog": 4}, size=(48, 64))
    output = tmp_path / "ru\x1bn"
    options = ["--encoder", "thin", "--view", "48", "48", "--patch", "16", "--k", "2"]
    options += ["--steps", "1", "--accelerator", "cpu", "--output", str(output)]
    assert main(["plan", str(root), *options]) == 0
    assert main(["train", str(root), *options]) == 0
    assert main(["evaluate", str(output), "--json"]) == 0
    assert main(["predict", str(output), f"{root}/none{acting}.png", "--output", "/dev/\x1b"]) == 2
    assert main(["explain", str(output), "--output", str(tmp_path / "\x1bpage")]) == 0
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert text == printable(text)
        assert "\\x1b" in text


@pytest.mark.parametrize("table", ["labels.csv", "boxes.csv"])
def test_a_name_longer_than_any_file_is_one_short_line(table: str, tmp_path: Path) -> None:
    labels = miniatures.labels_csv(tmp_path)
    row = "x" * 5000 + (",cat" if table == "labels.csv" else ",0,0,1,1")
    header = "" if table == "labels.csv" else "file,x0,y0,x1,y1\n"
    with (tmp_path / table).open("a") as file:
        file.write(f"{header}{row}\n")
    with pytest.raises(UserError) as error:
        read_folder(labels)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
