"""What is shared predicts the same to the bit, and tells nothing of the user's files."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import foveal
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.nn.encoders import Backbone
from foveal.runs import Run
from small_hub import hub

SECRET, NAME = "surname", "confidential"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all phases, on images in a folder and of names that nobody is to learn."""
    root = tmp_path_factory.mktemp(SECRET)
    random = np.random.default_rng(0)
    rows = ["file,x0,y0,x1,y1"]
    for label, channel in (("ant", 0), ("bee", 2)):
        (root / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(60, 120, (96, 128, 3), dtype=np.uint8)
            pixels[8:24, 40:56, channel] = 255
            file = f"{label}/{NAME}{number}.png"
            Image.fromarray(pixels).save(root / "photos" / file)
            rows.append(f"{file},40,8,56,24")
    (root / "photos" / "boxes.csv").write_text("\n".join(rows))
    torch.manual_seed(0)
    torch.save(Backbone("test_resnet", stage=-1).network.state_dict(), root / f"{NAME}.pt")
    return foveal.train(
        root / "photos",
        output=root / "run",
        encoder="test_resnet",
        weights=root / f"{NAME}.pt",
        patch=32,
        k=2,
        read_steps=2,
        steps=1,
        accelerator="cpu",
    )


def photos(run: Run) -> Path:
    return run.path.parent / "photos"


def shared(run: Run, tmp_path: Path) -> Path:
    run.save_pretrained(tmp_path / "shared")
    return tmp_path / "shared"


def test_a_shared_run_predicts_the_same_to_the_bit(run: Run, tmp_path: Path) -> None:
    again = foveal.load(shared(run, tmp_path))
    assert again.predict(photos(run)) == run.predict(photos(run))
    assert again.thresholds == run.thresholds
    assert again.thresholds is not None
    report = again.evaluate(photos(run))
    assert report.hit_rate is not None


def test_what_is_shared_names_no_file_and_no_folder_of_the_user(run: Run, tmp_path: Path) -> None:
    folder = shared(run, tmp_path)
    secrets = [SECRET, NAME, str(tmp_path.parent), "boxes.csv", platform.platform()]
    known = b"".join(file.read_bytes() for file in run.path.rglob("*") if file.is_file())
    assert all(secret.encode() in known for secret in secrets if secret != "boxes.csv")
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        content = file.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], file
    assert sorted(str(file.relative_to(folder)) for file in files) == [
        "README.md",
        "checkpoints/best/model.safetensors",
        "model.yaml",
        "phases/thresholds.pt",
        "recipe.yaml",
    ]


def test_the_card_tells_what_the_run_is_and_how_good(run: Run, tmp_path: Path) -> None:
    card = ModelCard.load(shared(run, tmp_path) / "README.md")
    report = run.evaluate()
    assert card.data.library_name == "foveal"
    assert card.data.pipeline_tag == "image-classification"
    for part in (
        "| classes | ant, bee |",
        "| patches | 2 of 32 x 32 px |",
        f"| view | {run.model.view[0]} x {run.model.view[1]} px",
        "test_resnet",
        f"{report.n} images",
        f"{report.accuracy:.1%}",
        "foveal predict shared IMAGES",
    ):
        assert part in card.text


def test_a_shared_run_has_no_images_to_be_evaluated_on(run: Run, tmp_path: Path) -> None:
    again = foveal.load(shared(run, tmp_path))
    with pytest.raises(UserError, match=r"without its images.*--data"):
        again.evaluate()
    again.save_pretrained(tmp_path / "twice")
    assert "without figures" in (tmp_path / "twice" / "README.md").read_text()


def test_a_folder_with_something_in_it_is_not_written_into(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UserError, match="there is something already"):
        run.save_pretrained(tmp_path)


def test_export_writes_a_folder_to_share(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), "--output", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine'}\n"
    assert foveal.load(tmp_path / "mine").classes == run.classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--output"),
        (["--output", "a", "--hub", "org/name"], "--output"),
        (["--output", "a", "--size", "8", "8"], "--size"),
        (["--output", "a.pt2", "--public"], "--public"),
    ],
)
def test_export_goes_to_one_place(
    run: Run, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_run_goes_to_the_hub_and_comes_back(run: Run, tmp_path: Path) -> None:
    def command(*arguments: str, address: str) -> subprocess.CompletedProcess[str]:
        home = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_x"}
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-m", "foveal", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | home | path,
        )

    output = tmp_path / "there.jsonl"
    predict = ["predict", "hf-hub:org/insects", str(photos(run)), "--output", str(output)]
    with hub() as server:
        address = server.address
        missing = command(*predict, address=address)
        assert missing.returncode == 2
        assert "hf-hub:org/insects: cannot be downloaded" in missing.stderr
        assert len(missing.stderr.splitlines()) == 1
        pushed = command("export", str(run.path), "--hub", "org/insects", address=address)
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout == "hf-hub:org/insects\n"
        (created,) = server.created
        assert created.get("private") or created.get("visibility") == "private"
        for content in server.files["org/insects"].values():
            assert not any(secret.encode() in content for secret in (SECRET, NAME))
        found = command(*predict, address=address)
        assert found.returncode == 0, found.stderr
    offline = command(*predict, address=address)  # of what was downloaded before
    assert offline.returncode == 0, offline.stderr
    here = tmp_path / "here.jsonl"
    assert main(["predict", str(run.path), str(photos(run)), "--output", str(here)]) == 0
    assert output.read_text() == here.read_text()
    failed = command("export", str(run.path), "--hub", "org/other", address=address)
    assert failed.returncode == 2
    assert "org/other: cannot be uploaded" in failed.stderr.splitlines()[-1]
