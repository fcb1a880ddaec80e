"""A file of predictions holds whole rows, whatever stops the program, and can be continued."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miniatures
from fixtures import format1
from foveal import _progress
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.evaluation import Result
from foveal.report.rows import csv_lines, encodable, json_lines
from foveal.report.rows_file import open_rows, read_rows
from foveal.runs import load

CLASSES = ("cat", "dog")
LINES = {".csv": csv_lines, ".jsonl": json_lines}
names = st.text("ab,\"'=-\n\r é\udce9\\", max_size=6) | st.text(max_size=4)


def result(name: str, number: int) -> Result:
    if number % 3 == 2:
        return Result(name, "", 0.0, {}, [], None, 'damaged "x",\nreally')
    return Result(name, "cat", 0.75, {"cat": 0.75, "dog": 0.25}, [(0, 1, 2, number)])


def write(path: Path, rows: Sequence[Result]) -> None:
    with open_rows(path) as append:
        for line in LINES[path.suffix](rows, CLASSES):
            append(line)


@settings(deadline=None, max_examples=60)
@given(
    files=st.lists(names, max_size=5),
    suffix=st.sampled_from([".csv", ".jsonl"]),
    cut=st.floats(0, 1),
)
def test_a_file_cut_at_any_byte_is_continued_to_the_same_file(
    files: list[str], suffix: str, cut: float
) -> None:
    rows = [result(name, number) for number, name in enumerate(files)]
    with TemporaryDirectory() as folder:
        whole, part = Path(folder, f"whole{suffix}"), Path(folder, f"part{suffix}")
        write(whole, rows)
        content = whole.read_bytes()
        part.write_bytes(content[: round(cut * len(content))])
        done = read_rows(part, CLASSES)
        assert part.read_bytes()[: done.end] == content[: done.end]
        kept = done.files.total()
        assert done.files == Counter(encodable(name) for name in files[:kept])
        missing = LINES[suffix](rows[kept:], CLASSES)
        if done.end and suffix == ".csv":
            next(missing)
        with open_rows(part, keep=done.end) as append:
            for line in missing:
                append(line)
        assert part.read_bytes() == content
        assert read_rows(part, CLASSES).end == len(content)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_an_image_listed_twice_needs_two_rows(listed: list[str], written: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        write(path, [result(name, 0) for name in written])
        missing = read_rows(path, CLASSES).missing([Path(name) for name in listed])
    assert Counter(map(str, missing)) == Counter(listed) - Counter(written)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "file,label\nx.png,cat\n"),
        ("a.csv", "file,label,probability,cat,cow,windows,error\n"),
        ("a.csv", "file,label,probability,cat,dog,windows,error\nx.png,cat\n"),
        ("a.jsonl", "not JSON\n"),
        ("a.jsonl", '["a list"]\n'),
        ("a.jsonl", '{"file": "a", "error": null, "probabilities": {"cow": 1}}\n'),
    ],
)
def test_a_file_of_something_else_is_not_continued(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=f"{name}: no predictions of this run .*--resume") as error:
        read_rows(path, CLASSES)
    assert "\n" not in str(error.value)
    assert path.read_text() == content


def test_a_row_that_does_not_fit_on_the_disk_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(UserError, match="rows written so far are kept"):
            write(path, [result(f"{number}.png", 0) for number in range(99)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 500 < path.stat().st_size <= 1000
    lines = path.read_text().splitlines(keepends=True)
    assert [json.loads(line)["file"] for line in lines] == [f"{n}.png" for n in range(len(lines))]
    assert read_rows(path, CLASSES).end == path.stat().st_size


# real processes

COUNT = 500


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run of two classes."""
    source = Path(format1.__file__).parent / "run_format1_folder" / "run"
    return Path(shutil.copytree(source, tmp_path / "run"))


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stop_predicting(words: list[str], output: Path, rows: int, number: int) -> tuple[int, str]:
    """Run `foveal predict`; send a signal once the file has that many rows; status, errors."""
    program = "import sys; from foveal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "predict", *words], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if output.exists() and output.read_bytes().count(b"\n") > rows:
            process.send_signal(number)
            break
        time.sleep(0.005)
    return process.wait(timeout=300), process.communicate()[1]


def test_predictions_survive_every_signal_and_resume_does_what_is_missing(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = miniatures.write(tmp_path / "a.png", miniatures.pixels(96, 128))
    output = tmp_path / "out" / "predictions.csv"
    words = [str(trained), *[str(image)] * COUNT, "--output", str(output)]
    written = 0
    for number, status in (
        (signal.SIGKILL, -signal.SIGKILL),
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
    ):
        ended, errors = stop_predicting(words, output, written + 1, number)
        assert ended == status, errors
        assert os.listdir(output.parent) == [output.name]
        assert output.read_bytes().endswith(b"\n")
        rows = rows_in(output)
        assert written < len(rows) < COUNT
        assert all(row["file"] == str(image) and row["label"] for row in rows)
        if status > 0:
            assert errors.splitlines()[-1].startswith("foveal: interrupted: ")
            assert "--resume" in errors.splitlines()[-1]
            assert "Traceback" not in errors
        written = len(rows)
        with output.open("ab") as file:
            file.write(output.read_bytes()[-20:-3])  # half a row
        words = [*words[: COUNT + 3], "--resume"]
    assert main(["predict", *words]) == 0
    assert f"has {written} rows; {COUNT - written} of {COUNT}" in capsys.readouterr().err
    rows = rows_in(output)
    assert len(rows) == COUNT
    assert len({tuple(row.values()) for row in rows}) == 1
    before = output.read_bytes()
    assert main(["predict", *words]) == 0
    assert output.read_bytes() == before


def test_progress_shows_megapixels_per_second(
    tmp_path: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = miniatures.write(tmp_path / "a.png", miniatures.pixels(96, 128))
    words = ["predict", str(trained), str(image), str(tmp_path / "gone.png")]
    assert main(words) == 0
    assert "megapixels/s" not in capsys.readouterr().err  # too soon
    monkeypatch.setattr(_progress, "_INTERVAL_SECONDS", -1.0)
    assert main(words) == 0
    lines = [each for each in capsys.readouterr().err.splitlines() if "megapixels/s" in each]
    assert [line.split("  ")[0] for line in lines] == ["predicting 1 of 2", "predicting 2 of 2"]
    rates = [float(line.split("  ")[1].split()[0]) for line in lines]
    assert rates[0] > rates[1] > 0  # an image that is missing adds time alone
    found = load(trained).predict([image, tmp_path / "gone.png"])
    assert [each.size for each in found] == [(96, 128), None]


def test_resuming_needs_a_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(trained), "a.png", "--resume"]) == 2
    assert "name it with --output" in capsys.readouterr().err


def test_rows_reach_a_pipe_as_soon_as_they_are_known(tmp_path: Path, trained: Path) -> None:
    image = miniatures.write(tmp_path / "a.png", miniatures.pixels(96, 128))
    program = "import sys; from foveal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["predict", str(trained), *[str(image)] * COUNT]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    first = process.stdout.readline()
    process.kill()
    assert first.startswith(str(image))
    rest = process.communicate()[0]
    assert rest.count("\n") < COUNT - 1


def test_what_a_killed_explain_left_is_removed_by_the_next(tmp_path: Path, trained: Path) -> None:
    image = miniatures.write(tmp_path / "a.png", miniatures.pixels(96, 128))
    page = tmp_path / "page"
    miniatures.write(page / ".new" / "pictures" / "left.png", miniatures.pixels(8, 8))
    assert main(["explain", str(trained), str(image), "--output", str(page)]) == 0
    assert sorted(os.listdir(page)) == ["index.html", "pictures", "windows.geojson"]
