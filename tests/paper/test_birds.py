"""CUB-200-2011 as it is published: its layout, its split, its faults, and training on it."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from foveal.data import Dataset
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.paper import recipes
from foveal.paper.data.birds import HELD_BACK, TRAIN, Birds, Photograph, read_birds, read_whole
from foveal.paper.data.birds import _held_back as held_back
from foveal.runs import RunFolder, load
from foveal.runs.record import record
from foveal.training import fit
from miniatures import birds


def edited(root: Path, table: str, old: str, new: str) -> None:
    file = root / table
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_photograph_has_its_label_its_box_and_its_pixels(tmp_path: Path):
    whole = read_whole(birds(tmp_path))
    assert isinstance(whole, Dataset)
    assert whole.classes == ("001.Bird_0", "002.Bird_1", "003.Bird_2")
    assert len(whole) == 18
    for index in range(len(whole)):
        example = whole[index]
        assert example.file.startswith(whole.classes[example.label])
        pixels = example.image.view((60, 80))
        ((top, left, bottom, right),) = example.boxes.tolist()
        assert (bottom - top, right - left) == (20, 30)
        inside = pixels[example.label, top + 2 : bottom - 2, left + 2 : right - 2].mean()
        assert inside > 2 * pixels[example.label].mean()  # the box is where the bird is bright


def test_boxes_of_parts_of_pixels_are_rounded_outwards(tmp_path: Path):
    root = birds(tmp_path)
    edited(root, "bounding_boxes.txt", "1 3.0 5.0 30.0 20.0", "1 3.7 5.2 30.4 20.1")
    assert read_whole(root)[0].boxes.tolist() == [[5, 3, 26, 35]]


def test_the_parts_are_the_published_ones(tmp_path: Path):
    splits = read_birds(birds(tmp_path, train=12))
    test = {splits.test[i].file for i in range(len(splits.test))}
    train = {splits.train[i].file for i in range(len(splits.train))}
    validation = {splits.validation[i].file for i in range(len(splits.validation))}
    assert len(test) == 6  # 2 of every class, as the table says
    assert len(validation) == round(36 * 994 / 5994) == 6
    assert len(train) == 30
    assert len(train | validation | test) == 42
    assert Counter(splits.validation.labels.tolist()) == {0: 2, 1: 2, 2: 2}


def test_with_all_training_images_the_validation_is_among_them(tmp_path: Path):
    root = birds(tmp_path)
    some, full = read_birds(root), read_birds(root, full=True)
    assert len(full.train) == 12
    assert full.validation.photographs == some.validation.photographs
    assert set(full.validation.photographs) <= set(full.train.photographs)
    assert full.test.photographs == some.test.photographs


def test_another_seed_holds_back_others_and_the_same_seed_the_same(tmp_path: Path):
    root = birds(tmp_path, train=12, test=1)
    first, again, other = (read_birds(root, seed=seed).validation for seed in (0, 0, 1))
    assert first.photographs == again.photographs != other.photographs


@pytest.mark.parametrize("seed", range(3))
def test_of_5994_images_994_are_held_back_evenly(seed: int):
    # as published: 30 images of nearly every class, 29 of a few
    labels = torch.arange(200).repeat_interleave(torch.tensor([29] * 6 + [30] * 194))
    held = held_back(labels, HELD_BACK, seed)
    assert len(labels) == TRAIN
    assert len(set(held)) == HELD_BACK
    counts = Counter(labels[held].tolist())
    assert set(counts.values()) <= {4, 5, 6}  # 4.98 on average
    assert len(counts) == 200


def test_the_folder_around_it_may_be_named(tmp_path: Path):
    birds(tmp_path / "CUB_200_2011")
    assert len(read_whole(tmp_path)) == 18


def test_what_is_missing_from_the_published_set_is_said(tmp_path: Path):
    (note,) = read_whole(birds(tmp_path)).notes
    assert note.startswith("warning: 12 training images, 6 test images and 3 classes")
    assert "5994, 5794 and 200" in note


def test_of_the_complete_set_nothing_is_said():
    from foveal.paper.data.birds import _incomplete as incomplete

    box = (0, 0, 1, 1)
    complete = [Photograph("x.jpg", n % 200, n < 5994, box) for n in range(11_788)]
    assert incomplete(complete, 200) == ()
    assert incomplete(complete[1:], 200) != ()


FAULTS = [
    ("images.txt", "1 001", "1001", r"images.txt line 1: '1001.*is not 'number file'"),
    ("images.txt", "2 001", "1 001", r"images.txt line 2: 1 stands there twice"),
    ("image_class_labels.txt", "1 1\n", "", "labels.txt: no line for 1 of 18 images, 1 for"),
    ("image_class_labels.txt", "18 3\n", "18", "labels.txt line 18: '18' is not 'number class'"),
    ("image_class_labels.txt", "1 1\n", "1 9\n", "image 1 is of class 9, not in classes.txt"),
    ("train_test_split.txt", "1 1\n", "1 2\n", "image 1 has '2' where 0 or 1"),
    ("bounding_boxes.txt", "1 3.0 5.0", "1 3.0", "boxes.txt line 1.*x y width height"),
    ("bounding_boxes.txt", "1 3.0 5.0 30.0", "1 3.0 5.0 wide", "image 1 has the box '3.0 5.0 wide"),
    ("bounding_boxes.txt", "1 3.0 5.0 30.0", "1 3.0 5.0 nan", "image 1 has the box"),
    ("bounding_boxes.txt", "1 3.0 5.0 30.0", "1 3.0 5.0 -30.0", "image 1 has the box"),
    ("images.txt", "Bird_0_0001.jpg", "Lost.jpg", "1 of 18 files are missing, 001.Bird_0/Lost.jpg"),
]


@pytest.mark.parametrize(("table", "old", "new", "said"), FAULTS)
def test_a_fault_in_a_table_is_one_line_with_its_place_and_the_remedy(
    tmp_path: Path, table: str, old: str, new: str, said: str
):
    root = birds(tmp_path)
    edited(root, table, old, new)
    with pytest.raises(UserError, match=said) as error:
        read_birds(root)
    assert "\n" not in str(error.value)
    assert "CUB_200_2011.tgz again, from https://" in str(error.value)


def test_what_is_not_the_folder_is_answered_with_where_to_get_it(tmp_path: Path):
    (tmp_path / "birds.tgz").touch()
    with pytest.raises(
        UserError, match=r"no images.txt in it; name the folder CUB_200_2011.*https"
    ):
        read_birds(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_birds(tmp_path / "nowhere")
    with pytest.raises(UserError, match="a file; unpack it"):
        read_birds(tmp_path / "birds.tgz")
    root = birds(tmp_path / "small", train=1)
    with pytest.raises(UserError, match="3 training and 6 test images are too few"):
        read_birds(root)
    (root / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"classes.txt: no such file; unpack"):
        read_birds(root)


SMALL = {
    "encoder": "test_resnet",
    "k": 2,
    "proposals": 3,
    "whole": 80,
    "size": 64,
    "patch": 32,
    "steps": 2,
    "batch": 3,
}


@pytest.mark.parametrize(
    "chosen",
    [
        {"variant": "mean"},
        {"variant": "concat"},
        {"variant": "nts_net"},
        {"as_published": True, "encoder": "resnet18"},
    ],
)
def test_two_steps_on_real_files_make_a_run_that_can_be_loaded(
    tmp_path: Path, chosen: dict[str, object]
):
    root = birds(tmp_path / "CUB_200_2011")
    experiment = recipes.build("birds", {"data": root, **SMALL, **chosen})
    run = RunFolder.create(tmp_path / "run")
    record(run, experiment)
    before = [weight.clone() for weight in experiment.model.parameters()]
    splits, objective = experiment.splits(), experiment.objective
    training = experiment.training
    rows = fit(experiment.model, splits, training, objective=objective, run=run, progress=False)
    assert torch.tensor(rows[-1]["loss"]).isfinite()
    assert rows[-1]["validation_hit_rate"] is not None
    changed = [
        not torch.equal(a, b) for a, b in zip(before, experiment.model.parameters(), strict=True)
    ]
    assert sum(changed) > len(changed) / 2
    loaded = load(run.path)
    report = evaluate(loaded.model, splits.test, classes=loaded.classes)
    assert report.n == 6
    assert all(len(result.windows) == 2 for result in report.results)
    if "as_published" in chosen:  # the selection of evaluation is that of the last step
        assert float(loaded.model.select.last) == pytest.approx(0.05 / 2)


def test_as_published_the_recipe_has_the_faults_of_the_papers_code(tmp_path: Path):
    data = {"data": birds(tmp_path), "encoder": "resnet18", "classes": ("a", "b")}
    plain, published = (
        recipes.build("birds", {**data, "as_published": chosen}) for chosen in (False, True)
    )
    model, training = published.model, published.training.optimisation
    assert (training.weight_decay, training.decay_all) == (-1e-4, True)
    before = plain.training.optimisation
    assert (before.weight_decay, before.decay_all) == (1e-4, False)
    assert model.select.estimator == published.options["selection"].estimator == "diagonal"
    images = torch.rand(1, 3, 300, 300)
    for network, soft, negative in ((plain.model, False, False), (model, True, True)):
        network.eval()
        prediction = network(images)
        weights = prediction.selection.weights
        assert (weights.shape[2] > weights.shape[1]) == soft
        stem = torch.nn.Sequential(*[*network.encoder.network.children()][:3])
        assert (stem(images) < 0).any() == negative
    assert (plain.notes, published.notes) == ((), (recipes.AS_PUBLISHED,))
    with pytest.raises(UserError, match="choose mean or concat"):
        recipes.build("birds", {**data, "as_published": True, "variant": "nts_net"})


def test_the_recipe_has_the_papers_settings(tmp_path: Path):
    data = {"data": birds(tmp_path), "encoder": "test_resnet"}
    experiment = recipes.build("birds", data)
    model, training = experiment.model, experiment.training.optimisation
    augmentation = experiment.training.augmentation
    assert model.anchors.shape == (1614, 4)
    assert (model.select.k, model.patch, model.dropout) == (4, (224, 224), 0.5)
    assert (training.optimiser, training.momentum, training.steps) == ("sgd", 0.9, 31_300)
    assert [training.steps * share for share in training.milestones] == [18_780, 25_040]
    assert augmentation.shift_fraction * 600 == pytest.approx(76)
    assert training.clip_norm is training.clip_value is None
    assert augmentation.flip
    assert not augmentation.colour
    said = " ".join(experiment.notes)
    assert "train 10, validation 2, test 6" in said
    assert "without --weights" in said
    assert "where the published set has" in said
    ranked = recipes.build("birds", {**data, "variant": "nts_net"})
    assert ranked.training.optimisation.entropy == 0
    assert (ranked.model.k, ranked.model.proposals, ranked.model.overlap) == (4, 6, 0.25)


def test_a_run_is_made_again_without_a_look_at_the_data(tmp_path: Path):
    root = birds(tmp_path / "birds")
    first = recipes.build("birds", {"data": root, **SMALL})
    for file in root.glob("*.txt"):
        file.unlink()
    again = recipes.find("birds")(**first.options)
    assert (again.classes, again.training) == (first.classes, first.training)
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_damaged_photograph_is_found_before_training(tmp_path: Path):
    root = birds(tmp_path)
    next((root / "images").rglob("*_0001.jpg")).write_bytes(b"")
    with pytest.raises(UserError, match=r"images cannot be used.*empty file"):
        recipes.build("birds", {"data": root, **SMALL})


def test_a_part_keeps_what_was_said(tmp_path: Path):
    whole = read_whole(birds(tmp_path))
    part = whole.part([3, 1])
    assert isinstance(part, Birds)
    assert part.notes == whole.notes
    assert [part[i].file for i in range(2)] == [whole[3].file, whole[1].file]
