"""Weights that give NaN: an error in every row, and JSON that every parser takes."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import miniatures
from fixtures import format1
from foveal.cli.main import main


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A run one of whose weights is NaN."""
    source = Path(format1.__file__).parent / "run_format1_folder" / "run"
    run = Path(shutil.copytree(source, tmp_path / "run"))
    for file in run.glob("checkpoints/*/model.safetensors"):
        weights = load_file(file)
        name = next(name for name in weights if name.startswith("head") and "weight" in name)
        weights[name] = torch.full_like(weights[name], torch.nan)
        save_file(weights, file)
    return run


def constants_refused(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def test_answers_that_are_not_finite_are_errors_everywhere(
    tmp_path: Path, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = miniatures.class_folders(tmp_path / "images", {"long": 1, "wide": 2}, (96, 128))
    words = [str(broken), str(images)]
    assert main(["predict", *words]) == 2
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 3
    for row in rows:
        assert "NaN" in row.pop("error")
        assert row.pop("file")
        assert set(row.values()) == {""}
    assert "3 of 3 images could not be predicted" in err

    assert main(["predict", *words, "--output", str(tmp_path / "a.jsonl")]) == 2
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        found = json.loads(line, parse_constant=constants_refused)
        assert "NaN" in found["error"]
        assert found["label"] is found["probability"] is None

    capsys.readouterr()
    classes = [name for name in rows[0] if name not in ("label", "probability", "windows")]
    data = miniatures.class_folders(tmp_path / "data", dict.fromkeys(classes, 1), (96, 128))
    assert main(["evaluate", str(broken), "--data", str(data), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "none of the" in err

    assert main(["explain", *words, "--output", str(tmp_path / "page")]) == 2
    assert "NaN" in (tmp_path / "page" / "index.html").read_text()
