"""foveal plan exits as foveal train would, in the same words, and says what the data are."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniatures
from foveal.cli.main import main

OPTIONS = ["--encoder", "thin", "--view", "64", "64", "--patch", "32", "--k", "2"]
OPTIONS += ["--batch", "4", "--steps", "1"]
Change = Callable[[Path], object]


def folder(root: Path) -> Path:
    """Two classes of six images, none equal to another."""
    return miniatures.class_folders(root, {"a": 6, "b": 6}, size=(64, 96))


def splits(root: Path) -> Path:
    """The same under train/, val/ and test/; no two images are equal."""
    for number, part in enumerate(("train", "val", "test")):
        for index in range(4):
            pixels = miniatures.pixels(64, 96, seed=10 * number + index)
            miniatures.write(root / part / "ab"[index % 2] / f"{index}.png", pixels)
    return root


def table(root: Path) -> Path:
    return miniatures.labels_csv(root, size=(64, 96))


def edited(old: str, new: str) -> Change:
    """Replace text in the table."""

    def edit(root: Path) -> None:
        file = root / "labels.csv"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def holding(name: str, content: bytes = b"") -> Change:
    """Write a file."""

    def write(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(content)

    return write


def of_size(name: str, height: int, width: int) -> Change:
    return lambda root: miniatures.write(root / name, miniatures.pixels(height, width, seed=99))


def copied(source: str, target: str) -> Change:
    return lambda root: shutil.copy(root / source, root / target)


def in_mode(name: str, mode: str, **options: object) -> Change:
    return lambda root: miniatures.write(root / name, Image.new(mode, (96, 64)), **options)


def cut(name: str) -> Change:
    return lambda root: miniatures.truncated(root / name, root / name)


def turned(root: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    miniatures.write(root / "a" / "turned.jpg", Image.new("RGB", (64, 96)), exif=exif)


def deep(root: Path) -> None:
    gray = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96)
    miniatures.gray16(root / "a" / "deep.tif", gray)


ODD: dict[str, tuple[Callable[[Path], Path], Change, str]] = {
    "sound": (folder, lambda root: None, "in several parts, byte by byte: none"),
    "sound splits": (splits, lambda root: None, "images      4           4     4   12"),
    "sound table": (table, lambda root: None, "10 images of 2 classes"),
    "hidden": (folder, holding("a/.x.png"), "a/.x.png: hidden"),
    "notes": (folder, holding("a/notes.txt"), "a/notes.txt: its name does not end like"),
    "loop": (folder, lambda root: (root / "a/up").symlink_to(root), "a/up: a link back"),
    "pipe": (folder, lambda root: os.mkfifo(root / "a/p.png"), "a/p.png: a pipe"),
    "other size": (folder, of_size("a/x.png", 80, 90), "largest 80 x 90 px"),
    "misnamed": (folder, copied("a/0.png", "a/0.jpg"), "a/0.jpg is PNG"),
    "copy in a part": (splits, copied("train/a/0.png", "train/a/9.png"), "(train)"),
    "copy": (splits, copied("train/a/0.png", "test/a/9.png"), "train/a/0.png (train) = test/a/9"),
    "two labels": (splits, copied("train/a/0.png", "train/b/9.png"), "several labels for equal"),
    "gray": (folder, in_mode("a/g.png", "L"), "1 of 13 images are gray where most are RGB: a/g"),
    "transparent": (folder, in_mode("a/t.png", "RGBA"), "transparent pixels, which are blended"),
    "turned": (folder, turned, "turned or mirrored by EXIF, and read upright: a/turned.jpg"),
    "16 bits": (folder, deep, "1 16-bit gray TIFF"),
    "unlisted": (table, of_size("images/new.png", 64, 96), "images/new.png: not in labels.csv"),
    "repeated row": (table, edited("images/2", "images/0.png,cat\nimages/2"), "1 repeated rows"),
    "backslashes": (table, edited("images/0", "images\\0"), "10 images of 2 classes"),
    "boxes in a class": (folder, holding("a/boxes.csv"), "ignored a/boxes.csv: boxes are read"),
    "empty": (folder, holding("a/empty.png"), "a/empty.png: empty file"),
    "text": (folder, holding("a/x.png", b"no picture"), "a/x.png: not an image"),
    "cut": (folder, cut("a/3.png"), "a/3.png: damaged or truncated"),
    "gone": (folder, lambda root: (root / "a/l.png").symlink_to("n"), "a/l.png: no such file"),
    "float": (folder, in_mode("a/f.tif", "F"), "a/f.tif: a TIFF of floating-point samples"),
    "long": (folder, of_size("a/long.png", 4, 640), "a/long.png (4 x 640 px)"),
    "class without images": (folder, lambda root: (root / "c").mkdir(), "no images in c/"),
    "loose": (folder, of_size("x.png", 64, 96), "1 images lie beside the class folders"),
    "one class": (folder, lambda root: shutil.rmtree(root / "a"), "class"),
    "no train": (splits, lambda root: shutil.rmtree(root / "train"), "no train split"),
    "class in test alone": (splits, of_size("test/c/0.png", 64, 96), "no image of class 'c' in"),
    "loose beside splits": (splits, of_size("c/0.png", 64, 96), "beside"),
    "bad box": (folder, holding("boxes.csv", b"file,x0,y0,x1,y1\na/0.png,9,9,1,1"), "not a box"),
    "missing": (table, edited("images/0", "images/x"), "1 of 10 files are missing: images/x.png"),
    "long name": (table, edited("images/0", "x" * 300), "1 of 10 files are missing: xxx"),
    "no label": (table, edited("0.png,cat", "0.png,"), "empty label"),
    "contradiction": (table, edited("images/2", "images/0.png,dog\nimages/2"), "listed twice"),
    "no column": (table, edited("label", "class"), "no column label"),
    "utf-16": (table, lambda root: (root / "labels.csv").write_text("x", "utf-16"), "not UTF-8"),
}


def last_line(capsys: pytest.CaptureFixture[str], status: int) -> tuple[str, str]:
    """What was printed, and the reason of a refusal."""
    out, err = capsys.readouterr()
    return out + err, err.splitlines()[-1] if status else ""


@pytest.mark.parametrize("name", ODD)
def test_a_plan_is_refused_as_training_is_and_says_what_is_odd(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, change, words = ODD[name]
    data = build(tmp_path / "data")
    change(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status = main(["plan", str(data), *OPTIONS])
    said, reason = last_line(capsys, status)
    assert sorted(tmp_path.rglob("*")) == before
    assert words in said
    assert main(["train", str(data), *OPTIONS]) == status
    assert last_line(capsys, status)[1] == reason
    assert (tmp_path / "runs").exists() == (status == 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--seed=-1", "seed must be 0 or more"),
        (f"--seed {2**65}", "seed must be below 2^63"),
        ("--class-weights 1 2 3", "got 3 weights for 2 classes"),
        ("--weights nowhere.pt", "no weights at nowhere.pt"),
        ("--multilabel", "class folders give one class per image"),
        ("--minutes soon", "minutes"),
        ("--devices 99", "99 devices"),
        ("--output data", "data exists and is not empty"),
        ("--output data/a/0.png/run", "Not a directory"),
        ("--stesp 3", "Did you mean --steps"),
    ],
)
def test_a_plan_refuses_the_options_that_training_refuses(
    options: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    given = [*OPTIONS, *options.split()]
    reasons = []
    for command in ("plan", "train"):
        assert main([command, "data", *given]) == 2
        reasons.append(last_line(capsys, 2)[1])
    assert words in reasons[0]
    assert reasons[0] == reasons[1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "labels.xlsx"])
def test_an_archive_or_a_spreadsheet_is_not_taken_for_a_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("a/0.png", b"")
    assert main(["plan", str(tmp_path / name)]) == 2
    remedy = "save it as CSV" if name.endswith("xlsx") else "unpack it"
    assert remedy in capsys.readouterr().err
