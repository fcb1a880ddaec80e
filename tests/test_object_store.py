"""Images in S3, as Moto serves it: listed, read in parts, predicted; what fails is one line."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from every_format import images
from foveal.cli.main import main
from foveal.field.gigapixel import painted_texture, write_pyramid
from foveal.images import FileImage, remote
from test_lazy_files import crops

moto = pytest.importorskip("moto.server", reason="moto[server], a server of S3, is missing")
s3fs = pytest.importorskip("s3fs", reason="s3fs, of the extra remote, is missing")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Moto and its parts
RUN = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder whose images lie in s3://slides/of 2026/, too."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    s3fs.S3FileSystem.clear_instance_cache()
    write_pyramid(tmp_path / "a.tif", painted_texture(), (4096, 5120))
    (tmp_path / "b.jpg").write_bytes(images()["a.jpg"])
    bucket = s3fs.S3FileSystem()
    bucket.makedirs("slides", exist_ok=True)  # Moto keeps it from test to test
    for file in ("a.tif", "b.jpg"):
        bucket.put(str(tmp_path / file), f"slides/of 2026/{file}")
    yield tmp_path
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_an_image_in_s3_is_that_of_its_file(store: Path) -> None:
    for name in ("a.tif", "b.jpg"):
        here, there = FileImage(store / name), FileImage(f"s3://slides/of 2026/{name}")
        assert there.size == here.size
        assert torch.equal(there.view((30, 40)), here.view((30, 40)))
        assert all(map(torch.equal, crops(there), crops(here)))


def test_a_bucket_of_s3_is_predicted(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("s3://slides", "s3://slides/of 2026/", "s3://slides/*/*"):
        output = store / "predictions.csv"
        assert main(["predict", str(RUN), source, "--output", str(output)]) == 0
        with output.open() as file:
            found = {row["file"]: (row["windows"], row["error"]) for row in csv.DictReader(file)}
        assert list(found) == [f"s3://slides/of 2026/{name}" for name in ("a.tif", "b.jpg")]
        assert all(windows and not error for windows, error in found.values())
        output.unlink()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("s3://slides/of 2026/c.tif", "no such file"),
        ("s3://slides/of 2027/", "no images in this folder"),
        ("s3://nowhere/", "NoSuchBucket"),
        ("s3://nowhere/a.tif", "NoSuchBucket"),
    ],
)
def test_what_is_not_in_s3_is_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], source: str, why: str
) -> None:
    assert main(["predict", str(RUN), source]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each]
    assert source in line
    assert why in line
