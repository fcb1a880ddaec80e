"""Predictions on Ray are those of the local engine, whoever is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import miniatures
from foveal.cli.main import main
from foveal.errors import UserError

RUN = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"
PROC = Path("/proc")
on_ray = pytest.mark.skipif(
    find_spec("ray") is None or find_spec("pyarrow") is None or not PROC.is_dir(),
    reason="takes Ray Data, of the extra ray, and Linux, whose /proc names the workers",
)


def paint(folder: Path, count: int, side: int) -> None:
    """Images of noise, with names that are hard to carry, and one that is none."""
    random = np.random.default_rng(0)
    kinds = []
    for kind in range(min(count, 8)):
        path = folder / f"kind {kind}"
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path, "PNG", compress_level=0)
        kinds.append(path)
    names = [f'{number:05}, "é".png' for number in range(count - 1)]
    for number, name in enumerate(names):
        os.link(kinds[number % len(kinds)], folder / name)
    for path in kinds:
        path.unlink()
    (folder / "bad.png").write_bytes(b"nothing")


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of JSON lines by file, each of which must have one."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    counts = Counter(row["file"] for row in found)
    assert set(counts.values()) <= {1}, counts.most_common(3)
    return {row["file"]: row for row in found}


def same_rows(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    """Equal but for rounding: the images that a network takes at once may be others."""
    assert found.keys() == expected.keys()
    for file, row in found.items():
        other = expected[file]
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        for key in ("label", "windows", "error"):
            assert row[key] == other[key]


def began(folder: Path, output: Path) -> subprocess.Popen[str]:
    command = ["predict", str(RUN), str(folder), "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "foveal", *command, "--engine", "ray", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def begun_with_rows(
    folder: Path, output: Path, lines: Path, count: int
) -> tuple[subprocess.Popen[str], int]:
    """A command that has written some rows, and how many.

    Ray gives up where it cannot start within half a minute, as on a machine that is busy with other
    tests: then the command is begun again.
    """
    for _ in range(4):
        process = began(folder, output)
        while process.poll() is None:
            if lines.exists() and (found := lines.read_bytes().count(b"\n")) >= count:
                return process, found
            time.sleep(0.005)
        _, said = process.communicate()
        assert "timed out during startup" in said, said
    raise AssertionError(said)


def workers(ancestor: int) -> Iterator[int]:
    """The processes that predict, below the one that began them."""
    parents = {}
    for place in PROC.glob("[0-9]*"):
        try:
            status = (place / "stat").read_text().rpartition(")")[2].split()
            parents[int(place.name)] = int(status[1]), (place / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
    for process, (parent, command) in parents.items():
        while parent not in (ancestor, 0, 1) and parent in parents:
            parent = parents[parent][0]
        if parent == ancestor and command.startswith(b"ray::") and b"_Worker" in command:
            yield process


def a_killed_worker_costs_nothing(folder: Path, count: int, side: int) -> None:
    images, output, local = folder / "images", folder / "found.jsonl", folder / "local.jsonl"
    images.mkdir()
    paint(images, count, side)
    process, before = begun_with_rows(images, output, output, count // 10)
    victim, *others = workers(process.pid)
    os.kill(victim, signal.SIGKILL)
    assert before < count
    assert len(others) == 1
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert printed == ""
    error = rows(output)[str(images / "bad.png")]["error"]
    assert said.splitlines()[-2:] == [
        f"{count} rows in {output}",
        f"foveal: 1 of {count} images could not be predicted: {error}",
    ]
    assert main(["predict", str(RUN), str(images), "--output", str(local)]) == 0
    assert len(rows(output)) == count
    same_rows(rows(output), rows(local))


@on_ray
def test_a_worker_that_is_killed_loses_no_row_and_repeats_none(tmp_path: Path) -> None:
    a_killed_worker_costs_nothing(tmp_path, 300, 1200)


@on_ray
@pytest.mark.slow
def test_ten_thousand_images_have_a_row_each_although_a_worker_is_killed(tmp_path: Path) -> None:
    a_killed_worker_costs_nothing(tmp_path, 10_000, 48)


@on_ray
def test_what_was_stopped_on_ray_is_continued_here(tmp_path: Path) -> None:
    import pyarrow.parquet

    images, output, local = tmp_path / "images", tmp_path / "found.parquet", tmp_path / "l.parquet"
    images.mkdir()
    paint(images, 300, 1200)
    lines = output.with_name("found.parquet.jsonl")
    process, _ = begun_with_rows(images, output, lines, 1)
    process.terminate()
    _, said = process.communicate()
    assert process.returncode == 143, said
    *of_ray, last = said.splitlines()
    assert "found.parquet.jsonl keeps the rows so far" in last
    assert all("(raylet)" in line for line in of_ray), said
    assert not output.exists()
    command = ["predict", str(RUN), str(images), "--output"]
    assert main([*command, str(output), "--resume"]) == 0
    assert main([*command, str(local)]) == 0
    here, there = (
        {row["file"]: row for row in pyarrow.parquet.read_table(file).to_pylist()}
        for file in (local, output)
    )
    assert len(there) == 300
    assert pyarrow.parquet.read_metadata(output).num_rows == 300
    assert {file: (row["label"], row["windows"]) for file, row in there.items()} == {
        file: (row["label"], row["windows"]) for file, row in here.items()
    }


def test_workers_are_those_of_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(RUN), str(tmp_path), "--workers", "2"]) == 2
    assert "--engine ray" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    miniatures.class_folders(tmp_path)
    assert main(["predict", str(RUN), str(tmp_path), "--engine", "ray"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'foveal[ray]'" in line


@on_ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray, of its own parts
def test_a_run_that_a_worker_cannot_read_is_one_line(tmp_path: Path) -> None:
    from foveal.runs.on_ray import results_on_ray

    with pytest.raises(UserError, match="not a run folder"):
        list(results_on_ray(tmp_path / "nowhere", [tmp_path / "a.png"], workers=1))
