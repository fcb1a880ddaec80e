"""One rule for which files of a folder count, whatever looks at it; the rest is counted."""

import os
import stat
import tempfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import miniatures
from foveal.cli import explain
from foveal.data.folder import ImageFiles, read_folder, read_whole
from foveal.data.folder.left_out import of_folder
from foveal.data.folder.tree import IMAGE_SUFFIXES, scan
from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.runs import Run
from foveal.runs.inputs import list_images
from foveal.settings import Training

NAMES = (
    *("a.png", "B.JPG", "c.TiF", "d.jpeg", "e.jfif", "10.png", "9.png", "f.png.png"),
    *(
        ".hidden.png",
        "._a.png",
        ".DS_Store",
        "Thumbs.db",
        "notes.txt",
        "png",
        "table.csv",
        "x.png~",
    ),
    *("boxes.csv", "caf\u00e9.png", "a b;c.png"),
)
FOLDERS = ("one", "two", ".git", "@eaDir", "__MACOSX", "three.png", "runs")
TREES = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), st.just(None), max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from((*FOLDERS, "link", "up", "pipe.png", "gone.png", "a.png")),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


def build(folder: Path, tree: dict[str, object], away: Path) -> None:
    """Make a folder: dictionaries are folders, links to folders in `away`, or as they are named."""
    folder.mkdir()
    for name, content in tree.items():
        if name == "up":
            (folder / name).symlink_to(folder.parent, target_is_directory=True)
        elif name == "link":
            outside = Path(tempfile.mkdtemp(dir=away)) / "linked"
            build(outside, cast("dict[str, object]", content), away)
            (folder / name).symlink_to(outside, target_is_directory=True)
        elif name == "pipe.png":
            os.mkfifo(folder / name)
        elif name == "gone.png":
            (folder / name).symlink_to("nowhere")
        elif name == "runs":
            (folder / name).mkdir()
            build(folder / name / "run", cast("dict[str, object]", content or {}), away)
            for file in ("recipe.yaml", "versions"):
                (folder / name / "run" / file).touch()
        elif content is None or name == "a.png":
            (folder / name).touch()
        else:
            build(folder / name, cast("dict[str, object]", content), away)


def expected(folder: Path, above: tuple[str, ...] = ()) -> tuple[set[Path], int]:
    """What counts, and how many entries do not; a plain loop over the rule in words."""
    images, left_out = set(), 0
    above = (*above, os.path.realpath(folder))
    for name in os.listdir(folder):
        path = folder / name
        if name.startswith(".") or name.lower() in ("@eadir", "__macosx", "thumbs.db"):
            left_out += 1
        elif path.is_dir():
            back = any(f"{each}/".startswith(f"{os.path.realpath(path)}/") for each in above)
            if back or {"recipe.yaml", "versions"} <= set(os.listdir(path)):
                left_out += 1
            else:
                more, further = expected(path, above)
                images |= more
                left_out += further
        elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            is_pipe = path.exists() and stat.S_ISFIFO(path.stat().st_mode)
            images |= set() if is_pipe else {path}
            left_out += is_pipe
        else:
            left_out += name != "boxes.csv"
    return images, left_out


def run_of(*classes: str) -> Run:
    """A run without images or a trained model."""
    experiment = Experiment(
        recipe="folder",
        options={},
        classes=classes,
        model=nn.Identity(),
        splits=lambda: read_folder("nowhere"),
        training=Training(),
    )
    return Run(Path("run"), experiment, "best")


@settings(deadline=None, max_examples=30)
@given(tree=TREES, other=TREES)
def test_training_evaluation_prediction_and_explanation_see_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object], other: dict[str, object]
) -> None:
    root, away = tmp_path_factory.mktemp("tree") / "data", tmp_path_factory.mktemp("away")
    build(root, {"cat": tree | {"a.png": None}, "dog": other | {"a.png": None}}, away)
    images, left_out = expected(root)
    trained = read_whole(root)
    assert {image.path for image in trained.images} == images
    run = run_of("cat", "dog")
    evaluated, _ = run.labelled_images(root)
    assert isinstance(evaluated, ImageFiles)
    assert evaluated.images == trained.images
    listed = list_images(root)
    assert listed.sources == [image.path for image in trained.images]
    explained = explain._list_inputs(run, [str(root)], most=1)
    assert explained.labelled
    assert [each.file for each in explained.inputs] == [image.file for image in trained.images]
    ignored = [note for note in trained.notes if note.startswith("ignored ")]
    assert sum(int(note.split()[1]) for note in ignored) == left_out
    assert listed.notes == tuple(f"{root}: {note}" for note in ignored)
    assert evaluated.notes == trained.notes
    misplaced = [note for note in trained.notes if "boxes are read from" in note]
    assert bool(misplaced) == bool(scan(root)[1].boxes)
    assert len(of_folder(scan(root)[1])) <= left_out


def test_a_linked_class_folder_counts(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "real")
    (tmp_path / "data").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).symlink_to(f"../real/{name}", target_is_directory=True)
    assert len(read_whole(tmp_path / "data")) == len(list_images(tmp_path / "data")) == 10


def test_links_to_one_another_end(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    (tmp_path / "cat" / "x").symlink_to("../dog", target_is_directory=True)
    (tmp_path / "dog" / "y").symlink_to("../cat", target_is_directory=True)
    (tmp_path / "self.png").symlink_to("self.png")
    found, left_out = scan(tmp_path)
    assert len(list(found.all_images())) == 10 + 10 + 1
    assert sorted(left_out.loops) == ["cat/x/y", "dog/y/x"]


def test_what_foveal_wrote_into_the_data_is_left_out(tmp_path: Path) -> None:
    from foveal.report.page import Card, write_page

    miniatures.class_folders(tmp_path)
    picture = (tmp_path / "cat" / "0.png").read_bytes()
    card = Card("a", picture, "cat", 0.5, None, None, None, None)
    write_page(tmp_path / "explained", [card], title="page")
    for file in ("recipe.yaml", "versions"):
        miniatures.table(tmp_path / "runs" / "first" / file, "x", [])
    data = read_whole(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.notes == ("ignored 2 folders written by foveal (explained/, runs/first/)",)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UserError, match="a pipe or a device"):
        list_images(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"no images in this folder.* 1 special files \(a\.png\)"):
        list_images(tmp_path)


def test_a_pattern_lists_every_image_once(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    assert len(list_images(str(tmp_path / "**"))) == 10


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "dev", "Testing"),
        ("TRAIN", "Valid", "TEST"),
        ("training_set", "validation_set", "test_set"),
        ("trainset", "validate", "test images"),
        ("train", "validation", "test"),
    ],
)
@pytest.mark.parametrize("wrapped", ["", "archive/photos"])
@pytest.mark.parametrize("doubled", [False, True])
def test_splits_are_found_under_their_customary_names(
    tmp_path: Path, train: str, validation: str, test: str, wrapped: str, doubled: bool
) -> None:
    names = {"train": train, "validation": validation, "test": test}
    for number, part in enumerate(names.values()):
        place = tmp_path / wrapped / part / (part if doubled else "")
        miniatures.class_folders(place, {"a": 1 + number, "b": 2}, size=(4, 4))
    splits = read_folder(tmp_path)
    assert splits.train.classes == ("a", "b")
    for number, name in enumerate(names):
        part = getattr(splits, name)
        assert len(part) == 3 + number
        assert all(f"{names[name]}/" in image.file for image in part.images)
    table = [(f.relative_to(tmp_path), f.parent.name, p) for p, f in _by_part(tmp_path, names)]
    again = read_folder(miniatures.table(tmp_path / "t.csv", "file,label,split", table))
    assert sorted(map(len, (again.train, again.validation))) == [3, 4]


def _by_part(root: Path, names: dict[str, str]) -> list[tuple[str, Path]]:
    files = sorted(root.rglob("*.png"))
    return [(part, file) for file in files for part in names.values() if part in file.parts]


def test_a_wrapper_is_entered_and_said_but_a_class_is_not(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "cat", {"young": 3, "old": 3})
    miniatures.boxes_csv(tmp_path / "cat", [("young/0.png", 0, 0, 4, 4)])
    data = read_whole(tmp_path)
    assert data.classes == ("old", "young")
    assert data.notes == (f"images are in {tmp_path / 'cat'}",)
    assert sum(data[i].boxes is not None for i in range(len(data))) == 1
    known = read_whole(tmp_path, classes=["cat", "dog"])
    assert known.labels.tolist() == [0] * 6


def test_folders_that_look_like_splits_of_unknown_names_are_pointed_out(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, parts=("lern", "probe"))
    (note,) = read_whole(tmp_path).notes
    assert note.startswith("each of lern/, probe/ holds cat/, dog/: if these are splits")


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    too_deep(miniatures.class_folders(tmp_path))
    for look in (read_whole, list_images):
        with pytest.raises(UserError, match="file name too long; make the folder readable"):
            look(tmp_path)  # type: ignore[operator]


@pytest.mark.parametrize("pattern", ["**", "**/*.png", "c*/**/*.png"])
def test_a_pattern_over_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, pattern: str
) -> None:
    too_deep(miniatures.class_folders(tmp_path))
    with pytest.raises(UserError, match="file name too long; make the folder readable"):
        list_images(str(tmp_path / pattern))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
@pytest.mark.parametrize("source", ["", "*", "*/*.png", "**"])
def test_a_folder_without_permission_is_said(source: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = miniatures.class_folders(Path(folder))
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (root / "dog").chmod(0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setuid(65534)
                list_images(str(root / source))
            except UserError as error:
                status = 0 if f"{root / 'dog'}: permission denied" in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def too_deep(root: Path) -> None:
    """Make folders in root/cat deeper than the system can name."""
    folder = os.open(root / "cat", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("x" * 200, dir_fd=folder)
        inner = os.open("x" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


@pytest.mark.parametrize("layout", ["folder", "splits", "wrapper", "csv"])
@pytest.mark.parametrize("place", ["", "inner", "class"])
def test_boxes_are_read_or_said_to_be_ignored(tmp_path: Path, layout: str, place: str) -> None:
    data = tmp_path
    if layout == "csv":
        data = miniatures.labels_csv(tmp_path, parts=("train", "val"))
        inner = deepest = tmp_path / "images"
    else:
        parts = {"folder": (), "splits": ("train", "val"), "wrapper": ("photos",)}[layout]
        miniatures.class_folders(tmp_path, parts=parts)
        inner = tmp_path / parts[0] if parts else tmp_path
        deepest = inner / "cat"
    home = {"": tmp_path, "inner": inner, "class": deepest}[place]
    image = next(home.rglob("*.png"))
    miniatures.boxes_csv(home, [(image.relative_to(home), 1, 2, 3, 4)])
    whole = read_whole(data)
    said = [note for note in whole.notes if "boxes are read from" in note]
    name = (home / "boxes.csv").relative_to(tmp_path)
    assert len(whole.boxes) + len(said) == 1
    assert not said or f"ignored {name}" in said[0]
