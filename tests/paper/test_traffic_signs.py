"""Laws of the Swedish Traffic Signs set: its layout, its labels, how it is fetched and used."""

import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from foveal.cli.main import main
from foveal.data.folder import describe
from foveal.errors import UserError
from foveal.images import TensorImage
from foveal.models import AttentionSampling, IterativePatchSelection, PatchClassifier
from foveal.paper import recipes
from foveal.paper.data import traffic_signs
from foveal.paper.data.traffic_signs import first, largest, read_annotations, read_traffic_signs
from foveal.runs.folder import RunFolder
from foveal.runs.record import record
from foveal.runs.run import load
from foveal.training import fit
from foveal.training.optimiser import apply_schedules, build_optimiser
from miniatures_signs import SIZE, Server, annotations, published, serving, sign, written
from model_contract import ModelContract

LABELLED = {
    "none.jpg": ("", "EMPTY"),
    "miscellaneous.jpg": ("MISC_SIGNS;", "EMPTY"),
    "limit.jpg": (sign("70_SIGN"), "70"),
    "after_another.jpg": (f"MISC_SIGNS;{sign('PRIORITY_ROAD')}{sign('50_SIGN')}", "50"),
    "first_of_two.jpg": (f"{sign('80_SIGN')}{sign('50_SIGN', at=(60, 9))}", "80"),
    "first_visible.jpg": (f"{sign('80_SIGN', 'BLURRED')}{sign('50_SIGN')}", "50"),
    "other.jpg": (sign("PRIORITY_ROAD"), None),
    "other_limit.jpg": (sign("100_SIGN"), None),
    "blurred.jpg": (sign("70_SIGN", "BLURRED"), None),
    "occluded.jpg": (f"MISC_SIGNS;{sign('70_SIGN', 'OCCLUDED')}", None),
}


def mini(root: Path) -> Path:
    lines = {file: signs for file, (signs, _) in LABELLED.items()}
    return written(root, {"Set1": annotations(), "Set2": lines})


def test_the_label_is_that_of_the_first_visible_limit_and_other_scenes_are_left_out(
    tmp_path: Path,
) -> None:
    test = read_traffic_signs(mini(tmp_path)).test
    assert test is not None
    found = {
        example.file: test.classes[example.label] for example in map(test.__getitem__, range(6))
    }
    assert len(test) == 6
    assert found == {f"Set2/{file}": label for file, (_, label) in LABELLED.items() if label}


def test_boxes_are_those_of_the_visible_signs_that_show_the_label(tmp_path: Path) -> None:
    twice = sign("50_SIGN", at=(10, 20)) + sign("70_SIGN") + sign("50_SIGN", at=(60, 9))
    twice += sign("50_SIGN", "BLURRED", at=(1, 1))
    lines = {"twice.jpg": twice, "none.jpg": ""}
    test = read_traffic_signs(written(tmp_path, {"Set1": annotations(), "Set2": lines})).test
    assert test is not None
    boxes = test[0].boxes
    assert boxes is not None
    assert boxes.tolist() == [[10, 20, 22, 32], [60, 9, 72, 21]]
    assert test[1].boxes is None


def test_a_line_is_read_as_it_is_published(tmp_path: Path) -> None:
    file = tmp_path / "annotations.txt"
    # the first line is the set's own; a letter after a number occurs in it too
    file.write_text(
        "Image000004.jpg:MISC_SIGNS;VISIBLE, 616.957210, 718.303048, 580.957210, 679.303048, "
        "INFORMATION, PRIORITY_ROAD;VISIBLE, 176.952430, 725.056080, 139.698699, 691.424239l, "
        "OTHER, OTHER;\n\nb.jpg:\n"
    )
    (name, signs), (other, none) = read_annotations(file)
    assert (name, other, none) == ("Image000004.jpg", "b.jpg", [])
    assert [each.name for each in signs] == ["PRIORITY_ROAD", "OTHER"]
    assert [each.box for each in signs] == [(679, 580, 719, 617), (691, 139, 726, 177)]


@pytest.mark.parametrize(
    "line",
    [
        "no colon",
        "a.jpg:VISIBLE, 1, 2, 3",
        "a.jpg:VISIBLE, 9, 9, x, 2, OTHER, OTHER;",
        "a.jpg:OTHER;",
    ],
)
def test_a_line_that_is_no_annotation_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "annotations.txt").write_text(f"a.jpg:\n{line}\n")
    with pytest.raises(UserError, match=r"annotations\.txt line 2: not of the form"):
        read_annotations(tmp_path / "annotations.txt")


def test_attention_samplings_rule_takes_the_largest_and_leaves_the_same_images(
    tmp_path: Path,
) -> None:
    near = "VISIBLE, 90.0, 90.0, 50.0, 50.0, PROHIBITORY, 50_SIGN;"
    lines = {"two.jpg": sign("80_SIGN") + near, "none.jpg": "", "other.jpg": sign("STOP")}
    path = written(tmp_path, {"Set1": annotations(), "Set2": lines})
    labels = [read_traffic_signs(path, rule=rule).test.labels for rule in (first, largest)]
    assert [each.tolist() for each in labels] == [[3, 0], [1, 0]]


@pytest.mark.parametrize("inner", ["", "{}Part0"])
def test_images_lie_beside_the_annotations_or_in_the_archives_folder(
    tmp_path: Path, inner: str
) -> None:
    splits = read_traffic_signs(written(tmp_path, inner=inner))
    assert splits.test is not None
    assert len(splits.train) + len(splits.validation) == 16
    assert len(splits.test) == 8
    assert splits.train[0].image.size == SIZE


def test_the_split_is_stratified_and_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    held = [read_traffic_signs(path, seed=seed).validation for seed in (1, 1, 2)]
    assert held[0].labels.tolist() == [0, 1, 2, 3]
    files = [[part[i].file for i in range(4)] for part in held]
    assert files[0] == files[1] != files[2]


def test_other_counts_than_the_published_ones_are_said_in_words(tmp_path: Path) -> None:
    said = describe(read_traffic_signs(written(tmp_path / "mini")))
    assert f"warning: {tmp_path / 'mini' / 'Set2'} leaves 8 images, the published set 684" in said
    full = {"Set1": annotations(747), "Set2": annotations(684)}
    for name, lines in full.items():  # the counts come from the lines; empty files will do
        (tmp_path / "full" / name).mkdir(parents=True)
        text = "".join(f"{file}:{signs}\n" for file, signs in lines.items())
        (tmp_path / "full" / name / "annotations.txt").write_text(text)
        for file in lines:
            (tmp_path / "full" / name / file).touch()
    splits = read_traffic_signs(tmp_path / "full")
    assert splits.train.notes == ("validation was split off Set1 at random, stratified, seed 0",)
    assert len(splits.train) + len(splits.validation) == 747


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path / "signs")
    (path / "Set2" / "Image000003.jpg").unlink()
    with pytest.raises(
        UserError, match=r"1 of 8 .* missing, Image000003.jpg; unpack Set2Part0.zip"
    ):
        read_traffic_signs(path)
    (path / "Set1" / "annotations.txt").unlink()
    with pytest.raises(UserError, match="foveal data traffic_signs --output"):
        read_traffic_signs(path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """What the set's server would have, were the set so small."""
    files = published(written(tmp_path / "there"))
    sums = {
        name: hashlib.md5(files[f"/{name}/annotations.txt"]).hexdigest()
        for name in ("Set1", "Set2")
    }
    monkeypatch.setattr(traffic_signs, "MD5", sums)
    return Server(files)


def test_the_command_fetches_a_set_that_the_recipe_trains_on(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, run = tmp_path / "here", tmp_path / "run"
    with serving(server):
        # the set's own address, as seen from behind a proxy
        monkeypatch.setenv("http_proxy", server.address)
        server.cut = [None, 500]  # the first archive is cut
        assert main(["data", "traffic_signs", "--output", str(here)]) == 2
        assert "connection was lost" in capsys.readouterr().err
        assert main(["data", "traffic_signs", "--output", str(here)]) == 0
        assert main(["data", "traffic_signs", "--output", str(here)]) == 0
    assert [path.removeprefix(traffic_signs.SOURCE) for path, _ in server.asked] == [
        "/Set1/annotations.txt",
        "/Set1/Set1Part0.zip",
        "/Set1/Set1Part0.zip",
        "/Set2/annotations.txt",
        "/Set2/Set2Part0.zip",
    ]
    assert server.asked[2][1] == "bytes=500-"
    assert sorted({file.suffix for file in here.rglob("*.*")}) == [".jpg", ".txt"]

    settings = ["--view", "40", "40", "--patch", "24", "--k", "2", "--steps", "2", "--batch", "4"]
    told = ["train", "traffic_signs", "--data", str(here), "--output", str(run), *settings]
    assert main(told) == 0
    out, err = capsys.readouterr()
    assert "Set1 leaves 16 images, the published set 747" in err
    assert "on its test images: 8 images" in out
    assert load(run).classes == traffic_signs.CLASSES


def test_a_damaged_archive_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    good = server.files["/Set2/Set2Part0.zip"]
    broken = bytearray(good)
    broken[200] ^= 1  # in the pixels of the first image
    here = tmp_path / "here"
    with serving(server):
        for bad in (bytes(broken), good[:-30], b"<html>moved</html>"):
            server.files["/Set2/Set2Part0.zip"] = bad
            with pytest.raises(UserError, match=r"damaged.*run this again"):
                traffic_signs.download(here, server.address)
        server.files["/Set2/Set2Part0.zip"] = good
        traffic_signs.download(here, server.address)
    assert len(read_traffic_signs(here).test or ()) == 8


def test_an_archive_of_another_version_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/Set1/Set1Part0.zip"] = published(
        written(tmp_path / "other", {"Set1": annotations(3)})
    )["/Set1/Set1Part0.zip"]
    with serving(server), pytest.raises(UserError, match="lacks 13 annotated images"):
        traffic_signs.download(tmp_path / "here", server.address)


MODELS = {
    "patches": PatchClassifier,
    "attention_sampling": AttentionSampling,
    "iterative": IterativePatchSelection,
}


@pytest.mark.parametrize(
    ("model", "grid", "k", "rate", "clips", "weighted"),
    [
        ("patches", (39, 52), 5, 1e-4, (0.1, None), False),
        ("attention_sampling", (35, 47), 5, 1e-3, (None, 1.0), True),
        ("iterative", (12, 16), 10, 3e-4, (None, None), True),
    ],
)
def test_every_model_has_its_published_sizes_and_training(
    model: str,
    grid: tuple[int, int],
    k: int,
    rate: float,
    clips: tuple[float | None, float | None],
    weighted: bool,
) -> None:
    experiment = recipes.build("traffic_signs", {"model": model})
    network, training = experiment.model, experiment.training.optimisation
    assert type(network) is MODELS[model]
    assert (network.grid, network.patch) == (grid, (100, 100))
    assert (network.k if model == "iterative" else network.select.k) == k
    assert (training.clip_value, training.clip_norm) == clips
    assert experiment.options["optimisation"].balance is weighted
    # at the end of the warm-up, if any, and at three quarters
    rule = build_optimiser(network, training)
    paces = [
        apply_schedules(network, rule, training, round(share * training.steps))[0]
        for share in (training.warm_up, 0.75)
    ]
    assert paces[0] == pytest.approx(rate, rel=1e-4)
    if model == "attention_sampling":  # a tenth after half of the steps
        assert paces[1] == pytest.approx(rate / 10)
    else:
        left = 0.25 / (1 - training.warm_up)
        assert paces[1] == pytest.approx(rate * (1 - math.cos(math.pi * left)) / 2)


def test_what_is_given_stands_before_what_was_published() -> None:
    given = {"k": 3, "steps": 7, "learning_rate": 0.5, "clip_norm": 9.0, "balance": False}
    experiment = recipes.build("traffic_signs", {"model": "attention_sampling", **given})
    groups = (vars(experiment.options[name]) for name in ("model", "optimisation"))
    assert given.items() <= {**next(groups), **next(groups)}.items()
    training = experiment.training.optimisation
    assert (training.steps, training.learning_rate, training.clip_norm) == (7, 0.5, 9.0)
    assert experiment.model.select.k == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "iterative", "as_published": True}, "as_published describes the paper's model"),
        ({"weights": Path("there.pt")}, "no weights for the encoder thin"),
        ({"model": "iterative", "grid": (2, 2)}, "k=10 for 2 x 2 windows"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        recipes.build("traffic_signs", settings)


SMALL = {"view": (40, 40), "patch": 24, "k": 2, "grid": (4, 5), "at_once": 6, "encoder": "thin"}


class Contract(ModelContract):
    k, n, patch = 2, 16, (24, 24)
    model: str

    def make(self) -> nn.Module:
        return recipes.build("traffic_signs", {"model": self.model, **SMALL}).model


class TestPatches(Contract):
    model = "patches"


class TestAttentionSampling(Contract):
    model = "attention_sampling"


class TestIterative(Contract):
    model, n = "iterative", 20


@pytest.mark.parametrize("model", MODELS)
def test_two_steps_of_every_model_make_a_run_that_can_be_loaded(tmp_path: Path, model: str) -> None:
    # of 17 images in Set1, 5 show nothing and 4 each of the limits: the classes are not alike
    data = written(tmp_path / "signs", {"Set1": annotations(17), "Set2": annotations(8)})
    given = {"data": data, "model": model, **SMALL, "steps": 2, "batch": 4}
    experiment = recipes.build("traffic_signs", given)
    train = experiment.splits().train
    run = RunFolder.create(tmp_path / "run")
    record(run, experiment)
    fit(experiment.model, experiment.splits(), experiment.training, run=run, progress=False)
    if model != "patches":
        weights = experiment.training.optimisation.class_weights
        assert weights is not None
        counts = train.labels.bincount().tolist()
        shares = [weight * count for weight, count in zip(weights, counts, strict=True)]
        assert shares == pytest.approx([len(train) / 4] * 4, rel=1e-5)

    (data / "Set1").rename(tmp_path / "elsewhere")
    loaded = load(run.path)
    fresh = recipes.find("traffic_signs")(**experiment.options)
    assert fresh.training == experiment.training
    for name, trained in loaded.model.state_dict().items():  # every part has learned something
        assert not torch.equal(trained, fresh.model.state_dict()[name]), name
    images = [data / "Set2" / f"Image{number:06d}.jpg" for number in range(3)]
    found = loaded.predict(images)
    assert [len(result.windows) for result in found] == [2, 2, 2]
    assert all(result.error is None for result in found)


def test_an_encoder_that_starts_from_nothing_is_warned_of(tmp_path: Path) -> None:
    data = written(tmp_path)
    for encoder, warned in ((None, True), ("thin", False)):
        chosen = {"data": data, "model": "iterative", "encoder": encoder}
        notes = recipes.build("traffic_signs", chosen).notes
        assert any("without --weights" in note for note in notes) == warned


def test_without_data_there_is_nothing_to_train_on_and_it_is_said_where_to_get_it() -> None:
    experiment = recipes.build("traffic_signs", {})
    with pytest.raises(UserError, match="foveal data traffic_signs --output PATH downloads"):
        experiment.splits()


def test_as_published_the_recipe_has_the_faults_of_the_papers_code() -> None:
    plain, published = (recipes.build("traffic_signs", {"as_published": x}) for x in (False, True))
    assert plain.model.select.estimator == "exact"
    assert (
        published.model.select.estimator == published.options["selection"].estimator == "diagonal"
    )
    assert (plain.notes, published.notes) == ((), (recipes.AS_PUBLISHED,))
    # a step takes 1e-4 of every weight, whatever the learning rate
    training = published.training.optimisation
    assert training.learning_rate * training.weight_decay == pytest.approx(1e-4)
    assert (training.decay_all, plain.training.optimisation.decay_all) == (True, False)
    # window (i, j) is centred on 24 i + 12 px, what its cell sees on 24 i + 24 (426 px of the view
    # are not quite a third of 1280)
    shift = []
    for experiment in (published, plain):
        scene = TensorImage(torch.zeros(3, 960, 1280))
        windows = experiment.model.geometry.windows([scene], torch.device("cpu"))[0]
        shift.append(((windows[:, :2] + windows[:, 2:]) / 2).view(39, 52, 2)[:, :, 0])
    rows = 24.0 * torch.arange(39)[:, None].expand(39, 52)
    assert torch.equal(shift[0], rows + 12)
    assert ((shift[1] - rows - 24).abs() <= 2).all()


@pytest.mark.parametrize("name", ["traffic_signs", "traffic_signs_cnn"])
def test_a_recipe_is_rebuilt_without_its_images(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "signs")
    made = recipes.build(name, {"data": path})
    assert made.classes == traffic_signs.CLASSES
    (path / "Set1").rename(tmp_path / "elsewhere")
    again = recipes.find(name)(**made.options)
    assert (again.classes, again.notes) == (made.classes, ())
    for one, other in zip(made.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
