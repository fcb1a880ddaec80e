"""An exported file answers as the run does, and is written whole or not at all."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from torch import Tensor

import foveal
import miniatures
from foveal.cli.main import main
from foveal.errors import ImageRefused, UserError
from foveal.evaluation import Thresholds, predict
from foveal.export import METADATA, export
from foveal.export.program import Program
from foveal.images import TensorImage
from foveal.models import PatchClassifier, WholeImage, patch_classifier
from foveal.nn.encoders import ThinResNet
from foveal.nn.selectors import Sinkhorn, TopK
from foveal.runs import Run
from foveal.runs.folder import RunFolder
from foveal.runs.thresholds import keep_thresholds
from foveal.windows import regular
from full_disk import disk_full_after

SIZE = (60, 90)
TRAIN = ["--encoder", "thin", "--steps", "3", "--batch", "4", "--k", "2", "--patch", "32"]
TRAIN += ["--view", "48", "48", "--seed", "1"]


def model(view: tuple[int, int] = (48, 64), **options: Any) -> PatchClassifier:
    torch.manual_seed(0)
    return patch_classifier(
        **{"encoder": "thin", "classes": 3, "view": view, "patch": 24, "k": 3} | options
    ).eval()


def batch(size: tuple[int, int] = SIZE, count: int = 3) -> UInt8[Tensor, "B 3 H W"]:
    return torch.stack([miniatures.pixels(*size, seed=seed) for seed in range(count)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained on images of one size."""
    root = tmp_path_factory.mktemp("trained")
    miniatures.class_folders(root / "photos", {"ant": 8, "bee": 8}, size=SIZE)
    assert main(["train", str(root / "photos"), "--output", str(root / "run"), *TRAIN]) == 0
    return root / "run"


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return foveal.load(folder)


def place_twice_as_large(
    size: tuple[int, int], grid: tuple[int, int], patch: tuple[int, int]
) -> Tensor:
    return regular(size, grid, (2 * patch[0], 2 * patch[1]))


MODELS = {
    "plain": model(),
    "apart": model(apart=1, aggregator="vote"),
    "transformer": model(aggregator="transformer"),
    "square view": model(view=(56, 56), patch=40),
    "grey": model(channels=1),
}
MODELS["sinkhorn"] = model()
MODELS["sinkhorn"].select = Sinkhorn(3).eval()
MODELS["other windows"] = model()
MODELS["other windows"].geometry.place = place_twice_as_large


@settings(deadline=None, max_examples=15)
@given(
    name=st.sampled_from(sorted(MODELS)), height=st.integers(20, 150), width=st.integers(20, 150)
)
def test_the_program_of_a_model_says_what_the_model_says(
    name: str, height: int, width: int
) -> None:
    one = MODELS[name]
    images = batch((height, width))[:, : one.channels]
    with torch.no_grad():
        try:
            expected = one(images)
        except ImageRefused:
            with pytest.raises(ImageRefused):
                Program(one, (height, width), multilabel=False)
            return
        found = Program(one, (height, width), multilabel=False).predict(images)
    for field in ("logits", "scores", "windows", "patches"):
        assert torch.equal(getattr(found, field), getattr(expected, field)), field
    assert torch.equal(found.selection.candidates, expected.selection.candidates)


def assert_answers(run: Run, images: Tensor, shares: Any, windows: Any, tolerance: float) -> None:
    for result, share, looks in zip(run.predict(images), shares, windows, strict=True):
        assert list(result.probabilities.values()) == pytest.approx(share, abs=tolerance)
        assert result.windows == [tuple(window) for window in looks]


def test_a_pt2_answers_as_the_run_where_foveal_is_not(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "a.pt2")
    torch.save(batch(), tmp_path / "images.pt")
    program = (
        "import json, sys, torch; about = {'foveal.json': ''};"
        "model = torch.export.load('a.pt2', extra_files=about).module();"
        "images = torch.load('images.pt');"
        "answers = [[each.tolist() for each in model(images[:n])] for n in (3, 1)];"
        "assert 'foveal' not in sys.modules;"
        "print(json.dumps([json.loads(about['foveal.json']), *answers]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    about, three, one = json.loads(done.stdout)
    # the same operations; sums may be taken in another order
    assert_answers(run, batch(), *three, tolerance=1e-6)
    assert_answers(run, batch(count=1), *one, tolerance=1e-6)
    assert about == {
        "foveal": foveal.__version__,
        "classes": ["ant", "bee"],
        "multilabel": False,
        "thresholds": list(run.thresholds.classes.values()) if run.thresholds else None,
        "image_size": list(SIZE),
        "channels": 3,
    }


def test_a_file_carries_the_thresholds_and_what_the_page_does_with_them_is_what_predict_does(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "run")
    images, run = batch(), foveal.load(copy)
    shares = sorted(result.probabilities["bee"] for result in run.predict(images))
    threshold = (shares[0] + shares[1]) / 2  # between the images, so that it matters
    keep_thresholds(RunFolder(copy), Thresholds({"ant": 1 - threshold, "bee": threshold}, 4))
    run.export(tmp_path / "a.pt2")
    extra = {METADATA: ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()
    about = json.loads(extra[METADATA])
    assert about["thresholds"] == [1 - threshold, threshold]
    margins = program(images)[0] - torch.tensor(about["thresholds"])
    labels = [result.label for result in run.predict(images, threshold="validation")]
    assert [about["classes"][index] for index in margins.argmax(dim=1)] == labels
    assert sorted(labels) == ["ant", "bee", "bee"]

    (copy / "phases" / "thresholds.pt").unlink()  # as if training had chosen none
    run.export(tmp_path / "b.pt2")
    torch.export.load(tmp_path / "b.pt2", extra_files=extra)
    assert json.loads(extra[METADATA])["thresholds"] is None


def loaded(path: Path) -> Any:
    return torch.export.load(path).module()


def test_a_pt2_takes_images_of_its_size_alone(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "a.pt2", size=(64, 48))
    run.export(tmp_path / "large.pt2", size=(1000, 900))
    sizes = [(tmp_path / name).stat().st_size for name in ("a.pt2", "large.pt2")]
    assert abs(sizes[1] - sizes[0]) < 20_000  # no image is in it
    program = loaded(tmp_path / "a.pt2")
    assert_answers(run, batch((64, 48)), *(e.tolist() for e in program(batch((64, 48)))), 1e-6)
    with pytest.raises(RuntimeError, match="equal to 64, but got 48"):
        program(batch((48, 64)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("multilabel", [False, True])
def test_every_model_is_exported_as_it_is(name: str, multilabel: bool, tmp_path: Path) -> None:
    one, classes = MODELS[name], ("a", "b", "c")
    before = {key: value.clone() for key, value in one.state_dict().items()}
    export(one, tmp_path / "a.pt2", size=SIZE, classes=classes, multilabel=multilabel)
    images = batch()[:, : one.channels]
    given = [TensorImage(each) for each in images]
    shares, windows = loaded(tmp_path / "a.pt2")(images)

    for index, result in enumerate(predict(one, given, classes, 3, multilabel=multilabel)):
        assert list(result.probabilities.values()) == pytest.approx(
            shares[index].tolist(), abs=1e-6
        )
        assert result.windows == [tuple(window) for window in windows[index].tolist()]
    assert all(torch.equal(before[key], value) for key, value in one.state_dict().items())
    assert all(parameter.requires_grad for parameter in one.parameters())


def test_an_onnx_answers_as_the_run(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX is written by onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    run.export(tmp_path / "a.onnx")
    session = runtime.InferenceSession(tmp_path / "a.onnx")
    for count in (3, 1):
        images = batch(count=count)
        shares, windows = session.run(None, {"images": images.numpy()})
        # its view may differ from torch's by 1/255 where both are rounded
        assert_answers(run, images, shares.tolist(), windows.tolist(), tolerance=1e-3)
    about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    assert about["classes"] == ["ant", "bee"]
    assert about["image_size"] == list(SIZE)
    assert [each.name for each in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape == ["batch", 3, *SIZE]
    assert [each.name for each in session.get_outputs()] == ["probabilities", "windows"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_answers_in_onnx(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX is written by onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    one, size = MODELS[name], (160, 240)
    export(one, tmp_path / "a.onnx", size=size, classes=("a", "b", "c"))
    images = batch(size)[:, : one.channels]
    (shares, _) = runtime.InferenceSession(tmp_path / "a.onnx").run(
        None, {"images": images.numpy()}
    )
    with torch.no_grad():
        expected = one(images).logits.softmax(dim=1)
    # untrained scores nearly tie, so another window may be taken
    torch.testing.assert_close(torch.from_numpy(shares), expected, rtol=0, atol=0.02)


@pytest.mark.skipif(find_spec("onnxscript") is not None, reason="onnxscript is installed")
def test_a_missing_package_is_one_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"onnx.*cannot be imported: install.*\.pt2") as caught:
        run.export(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_command_names_the_file_and_the_size(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "a.pt2"
    assert main(["export", str(folder), "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{output}\n"
    assert said.err == "for images of 60 x 90 px; classes: ant, bee\n"
    assert [each.name for each in output.parent.iterdir()] == ["a.pt2"]
    assert main(["export", str(folder), "--output", str(output)]) == 2
    assert "something already" in capsys.readouterr().err


def refused(path: Path, words: str, one: Any = MODELS["plain"], **options: Any) -> None:
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(UserError, match=words) as caught:
        export(one, path, **{"size": SIZE, "classes": ("a", "b", "c")} | options)
    assert "\n" not in str(caught.value)
    assert before == (sorted(path.parent.iterdir()) if path.parent.is_dir() else None)


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    refused(tmp_path / "a.pth", r"a\.pth: name a file that ends in \.pt2 or \.onnx")
    refused(tmp_path / "there" / "a", r"a: name a file that ends in")
    (tmp_path / "old.pt2").write_bytes(b"old")
    refused(tmp_path / "old.pt2", "something already")
    (tmp_path / "link.pt2").symlink_to("nowhere.pt2")
    refused(tmp_path / "link.pt2", "something already")
    refused(tmp_path / "old.pt2" / "a.pt2", "cannot be written")
    with disk_full_after(1000):
        refused(path, r"cannot be written \(File too large\)")
    refused(path, "positive: got 0 x 60", size=(0, 60))
    refused(path, "has 0 windows in a view", size=(900, 2))


def test_a_model_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    refused(path, "WholeImage: only a", WholeImage(encoder=ThinResNet(), classes=3, size=(32, 32)))
    glass = model()
    glass.mask = "background"
    refused(path, "--mask background", glass)
    soft = model()
    soft.select = TopK(3, soft_evaluation=True)
    refused(path, "mixed patches", soft.eval())
    uneven = model()
    uneven.geometry.place = lambda size, grid, patch: torch.tensor(
        [[0, 0, 8 + n % 2, 8] for n in range(grid[0] * grid[1])]
    )
    refused(path, "windows differ in size", uneven)
    asking = model()
    asking.normalise = lambda scores: scores if float(scores.max()) > 0 else -scores
    refused(path, r"torch\.export cannot export", asking)


def test_the_size_must_be_named_where_the_test_images_differ(tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path / "photos", size=(48, 64), parts=("train", "test"))
    miniatures.write(root / "test" / "cat" / "0.png", miniatures.pixels(64, 48))
    output = tmp_path / "run"
    assert main(["train", str(root), "--output", str(output), *TRAIN]) == 0
    with pytest.raises(UserError, match=r"differ in size \(9 of 10 have 48 x 64 px\).*--size"):
        foveal.load(output).export(tmp_path / "a.pt2")
    for file in root.rglob("*.png"):
        file.unlink()
    with pytest.raises(UserError, match=r"photos.*; or name the height and width.*--size"):
        foveal.load(output).export(tmp_path / "a.pt2")
