"""CRCHistoPhenotypes as it is published: its layout, its folds, its faults, and training on it."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures_nuclei import DARK, centres, written
from PIL import Image
from scipy.io import savemat

import foveal
from foveal.cli.main import main
from foveal.data import Dataset
from foveal.data.folder.splitting import folds
from foveal.errors import UserError
from foveal.models import AttentionSampling, IterativePatchSelection, PatchClassifier
from foveal.paper import recipes
from foveal.paper.data.colon_cancer import CLASSES, COUNTS, boxes, read_colon_cancer, read_whole
from foveal.paper.nn.lenet import LeNet
from foveal.runs import RunFolder
from foveal.runs.record import stored_options


def files(images: Dataset) -> list[str]:
    return [images[index].file for index in range(len(images))]


def test_an_image_has_its_label_its_boxes_and_its_pixels(tmp_path: Path) -> None:
    whole = read_whole(written(tmp_path))
    assert isinstance(whole, Dataset)
    assert files(whole) == [f"img{n}/img{n}.bmp" for n in range(1, 21)]  # 10 after 9
    assert [CLASSES[label] for label in whole.labels.tolist()] == ["none", "epithelial"] * 10
    for index in range(len(whole)):
        example = whole[index]
        expected = len(centres(index + 1)["epithelial"])
        assert (0 if example.boxes is None else len(example.boxes)) == expected
        red = example.image.view((120, 120))[0]
        for top, left, bottom, right in [] if example.boxes is None else example.boxes.tolist():
            assert (bottom - top, right - left) == (27, 27)
            edge = (27 - DARK) // 2  # the nucleus lies in the middle of its box
            inner = red[top + edge : bottom - edge, left + edge : right - edge]
            assert (inner == 0).all()


def test_centres_are_counted_from_one_and_boxes_overhang_at_the_border() -> None:
    found = boxes(torch.tensor([[14.0, 14.0], [1.0, 500.0], [20.4, 19.6]]))
    assert found.tolist() == [[0, 0, 27, 27], [486, -13, 513, 14], [6, 6, 33, 33]]


@pytest.mark.parametrize("place", ["Classification", "CRCHistoPhenotypes_2016_04_28"])
def test_the_folders_around_it_may_be_named(tmp_path: Path, place: str) -> None:
    inner = {"CRCHistoPhenotypes_2016_04_28": "Classification"}.get(place, "")
    written(tmp_path / place / inner, count=2)
    assert len(read_whole(tmp_path)) == 2


def test_every_image_is_tested_on_once_and_learned_from_in_no_fold_it_is_tested_in(
    tmp_path: Path,
) -> None:
    written(tmp_path)
    tested: list[str] = []
    for fold in range(5):
        splits = read_colon_cancer(tmp_path, fold=fold, folds=5)
        parts = [files(part) for part in (splits.train, splits.validation, splits.test)]
        assert [len(part) for part in parts] == [14, 2, 4]
        assert len(set().union(*parts)) == 20
        assert Counter(splits.test.labels.tolist()) == {0: 2, 1: 2}
        assert Counter(splits.validation.labels.tolist()) == {0: 1, 1: 1}
        tested += parts[2]
    assert sorted(tested) == sorted(files(read_whole(tmp_path)))


def test_another_seed_draws_other_folds_and_the_same_seed_the_same(tmp_path: Path) -> None:
    written(tmp_path)
    first, again, other = (files(read_colon_cancer(tmp_path, seed=s).test) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_folds_hold_everything_once_and_differ_by_one_at_most_in_every_class(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 49 + [1] * 51 + [2] * 3)
    labels = labels[torch.randperm(103, generator=generator)]
    parts = folds(labels, count, generator)
    assert sorted(index for part in parts for index in part) == list(range(103))
    assert all(part == sorted(part) for part in parts)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for label in range(3):
        counts = [(labels[part] == label).sum() for part in parts]
        assert max(counts) - min(counts) <= 1


def test_what_is_missing_from_the_published_set_is_said(tmp_path: Path) -> None:
    (note,) = read_whole(written(tmp_path)).notes
    assert note.startswith("warning: 20 images, 10 of them with an epithelial nucleus")
    assert f"{COUNTS[0]} and {COUNTS[1]}" in note


def test_a_centre_that_is_no_number_counts_and_has_no_box(tmp_path: Path) -> None:
    centre = np.array([[np.nan, np.nan], [50.0, 60.0]])
    savemat(written(tmp_path, 2) / "img1/img1_epithelial.mat", {"detection": centre})
    savemat(tmp_path / "img2/img2_epithelial.mat", {"detection": centre[:1]})
    whole = read_whole(tmp_path)
    assert whole.labels.tolist() == [1, 1]
    assert whole[0].boxes.tolist() == [[46, 36, 73, 63]]
    assert whole[1].boxes is None
    assert whole.notes[0] == "warning: 2 centres are no numbers; they have no box"


FAULTS = [
    ({"detection": np.ones((3, 3))}, "detection is float64 3 x 3, not n x 2 numbers"),
    ({"detection": np.ones((2, 2, 2))}, "detection is float64 2 x 2 x 2, not n x 2"),
    ({"detection": "nothing"}, "detection is <U7 1, not n x 2 numbers"),
    ({"centres": np.ones((3, 2))}, "it holds no detection"),
]


@pytest.mark.parametrize(("held", "said"), FAULTS)
def test_a_fault_in_a_file_of_centres_is_one_line_with_its_place_and_the_remedy(
    tmp_path: Path, held: dict[str, object], said: str
) -> None:
    savemat(written(tmp_path, 2) / "img2/img2_epithelial.mat", held)
    with pytest.raises(UserError, match=rf"img2_epithelial.mat: {said}") as error:
        read_whole(tmp_path)
    assert "\n" not in str(error.value)
    assert "unpack CRCHistoPhenotypes_2016_04_28.zip again" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all " * 20, "cut"])
def test_a_damaged_file_of_centres_is_one_line(tmp_path: Path, content: bytes | str) -> None:
    file = written(tmp_path, 2) / "img2/img2_epithelial.mat"
    file.write_bytes(file.read_bytes()[:150] if isinstance(content, str) else content)
    with pytest.raises(UserError, match=r"img2_epithelial.mat: cannot be read \(") as error:
        read_whole(tmp_path)
    assert "\n" not in str(error.value)


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    written(tmp_path, 3)
    (tmp_path / "img1/img1_epithelial.mat").unlink()
    (tmp_path / "img3/img3.bmp").unlink()
    with pytest.raises(UserError, match=r"2 files are missing, img1/img1_epi.*, img3/img3.bmp;"):
        read_whole(tmp_path)


def test_what_is_not_the_folder_is_answered_with_where_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "nuclei.zip").touch()
    with pytest.raises(UserError, match=r"no folders img1, img2, ... in it; name the .*https"):
        read_whole(tmp_path)
    with pytest.raises(UserError, match="no such folder; name the folder Classification"):
        read_whole(tmp_path / "nowhere")
    with pytest.raises(UserError, match="a file; unpack it"):
        read_whole(tmp_path / "nuclei.zip")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"fold": 10}, "fold=10 of folds=10: give 2 folds or more"),
        ({"fold": -1}, "a fold from 0 on"),
        ({"folds": 1}, "folds=1: give 2 folds or more"),
        ({"validation": 1.0}, "validation=1.0: give a share"),
        ({"folds": 20}, "10 images without and 10 with an epithelial nucleus are too few for 20"),
    ],
)
def test_impossible_folds_are_refused(tmp_path: Path, chosen: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_colon_cancer(written(tmp_path), **chosen)


def test_without_scipy_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 2)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UserError, match="scipy is needed to read it; install foveal with its extr"):
        read_whole(tmp_path)
    experiment = recipes.build("colon_cancer", {"data": tmp_path, "classes": CLASSES})
    assert experiment.classes == CLASSES  # a trained model needs none


def test_the_network_for_nuclei_has_the_published_sizes() -> None:
    encoder = LeNet((27, 27))
    convolutions = (3 * 25 + 1) * 20 + (20 * 25 + 1) * 50
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + (450 + 1) * 500
    assert encoder(torch.rand(2, 3, 27, 27)).shape == (2, 500)
    assert LeNet((16, 40), features=8)(torch.rand(2, 3, 16, 40)).shape == (2, 8)
    with pytest.raises(ValueError, match="16 px or more: got 15 x 27"):
        LeNet((15, 27))


@pytest.mark.parametrize(
    ("model", "kind", "grid"),
    [
        ("attention_sampling", AttentionSampling, (100, 100)),
        ("patches", PatchClassifier, (30, 30)),
        ("iterative", IterativePatchSelection, (36, 36)),
    ],
)
def test_the_sizes_are_the_published_ones(model: str, kind: type, grid: tuple[int, int]) -> None:
    given = {"data": Path("nowhere"), "classes": CLASSES, "model": model}
    experiment = recipes.build("colon_cancer", given)
    network, training = experiment.model, experiment.training.optimisation
    assert isinstance(network, kind)
    assert (network.grid, network.patch, network.encoder.features) == (grid, (27, 27), 500)
    chooser = getattr(network, "select", network)
    assert (chooser.k, training.batch, training.steps) == (10, 8, 5000)
    assert (training.learning_rate, training.entropy, training.clip_norm) == (1e-3, 0.01, 1.0)
    with pytest.raises(UserError, match="no such folder; name the folder Classification"):
        experiment.splits()


SMALL = ["--view", "40", "40", "--k", "3", "--width", "8", "--folds", "5"]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("attention_sampling", []),
        ("patches", ["--aggregator", "max"]),
        ("iterative", ["--patch", "60", "--flip"]),
    ],
)
def test_a_tiny_run_trains_saves_loads_and_is_judged(
    model: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = tmp_path / "run", written(tmp_path / "Classification")
    options = ["--data", str(data), "--model", model, "--steps", "2", "--batch", "4", "--fold", "1"]
    command = ["train", "colon_cancer", *options, *SMALL, *more, "--output", str(run)]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "train 14, validation 2, test 4" in said
    assert "fold 1 of 5, drawn at random, stratified, seed 0" in said
    assert "warning: 20 images" in said

    loaded = foveal.load(run)
    options = stored_options(RunFolder(run), recipes.find("colon_cancer"))
    fresh = recipes.find("colon_cancer")(**options)
    for name, trained in loaded.model.state_dict().items():  # every part has learned something
        assert not torch.equal(trained, fresh.model.state_dict()[name]), name
    assert main(["evaluate", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], 0 <= told["hit_rate"] <= 1) == (4, True)
    page = tmp_path / "page"
    assert main(["explain", str(run), str(data / "img2"), "--output", str(page)]) == 0
    assert (page / "index.html").exists()

    shutil.rmtree(data)
    again = recipes.find("colon_cancer")(**options)
    assert (again.classes, again.notes) == (CLASSES, ())


def test_a_damaged_image_is_found_before_training(tmp_path: Path) -> None:
    (written(tmp_path) / "img3/img3.bmp").write_bytes(b"")
    with pytest.raises(UserError, match=r"images cannot be used.*empty file"):
        recipes.build("colon_cancer", {"data": tmp_path})


def test_an_image_with_an_alpha_channel_is_seen_in_its_colours(tmp_path: Path) -> None:
    file = written(tmp_path, 2) / "img1/img1.bmp"
    before = read_whole(tmp_path)[0].image.view((120, 120))
    Image.open(file).convert("RGBA").save(file)
    assert torch.equal(read_whole(tmp_path)[0].image.view((120, 120)), before)
