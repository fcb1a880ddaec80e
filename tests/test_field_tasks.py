"""Field tasks: data sets that train reads, whose splits share no group and whose boxes fit."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniatures_field
from foveal import _files
from foveal.cli.main import main
from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.field import TASKS, Picture, write
from foveal.field.benchmark.data_sets import SOURCES
from foveal.field.groups import split_groups

REAL = Path(__file__).parent.parent.parent / "shared" / "data"
SMALL = {
    "digits": {"size": 200, "train": 30, "validation": 15, "test": 15},
    "digits-multi": {"size": 200, "train": 30, "validation": 15, "test": 15},
    "balls": {"train": 30, "validation": 4, "test": 4},
}
FOLDED = ("street-prohibitory", "street-limit", "boards", "screws")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return miniatures_field.sources(tmp_path_factory.mktemp("sources"))


def build(name: str, sources: dict[str, Path], output: Path, **options: object) -> Path:
    given = SMALL.get(name, {}) | options
    if name in sources:
        given["source"] = sources[name]
    write(output, TASKS[name](**given))
    return output / "labels.csv"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def check(labels: Path) -> None:
    """The laws of every task."""
    splits: dict[str, set[str]] = defaultdict(set)
    listed = rows(labels)
    assert list(listed[0]) == ["file", "label", "split", "group"]
    for row in listed:
        splits[row["group"]].add(row["split"])
    assert all(len(sides) == 1 for sides in splits.values())
    assert len({row["file"] for row in listed}) == len(listed)
    read = read_folder(labels)  # refuses missing files, and boxes outside their image
    assert read.test is not None
    assert len(read.train) + len(read.validation) + len(read.test) == len(listed)
    boxed = {row["file"] for row in rows(labels.parent / "boxes.csv")}
    assert 0 < len(boxed) <= len(listed)
    for part in (read.train, read.validation, read.test):
        for index in range(0, len(part), 7):
            example = part[index]
            height, width = example.image.size
            for top, left, bottom, right in [] if example.boxes is None else example.boxes.tolist():
                assert 0 <= top < bottom <= height
                assert 0 <= left < right <= width


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_data_set_whose_splits_share_no_group(
    name: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    check(build(name, sources, tmp_path / "new" / "task"))


@pytest.mark.parametrize("name", [name for name in TASKS if name in SOURCES])
def test_a_task_of_real_images_keeps_the_same_laws(name: str, tmp_path: Path) -> None:
    source = REAL / SOURCES[name]
    if not source.exists():
        pytest.skip(f"{source.name} is not in ../shared/data")
    if name == "boards":  # a group is enough to paint
        pictures = list(TASKS[name](source=source))
        assert len(pictures) == 1000
        assert len({picture.group for picture in pictures}) == 7
        write(tmp_path / "task", (each for each in pictures if each.group == "group44000"))
        return
    check(build(name, {name: source}, tmp_path / "task"))


@pytest.mark.parametrize("name", FOLDED)
def test_the_folds_test_every_image_once(name: str, sources: dict[str, Path]) -> None:
    tested = [
        picture.file
        for fold in range(5)
        for picture in TASKS[name](source=sources[name], fold=fold)
        if picture.split == "test"
    ]
    everything = [picture.file for picture in TASKS[name](source=sources[name])]
    assert sorted(tested) == sorted(everything)
    with pytest.raises(UserError, match="--fold 5: choose 0 to 4"):
        list(TASKS[name](source=sources[name], fold=5))


@pytest.mark.parametrize("name", ["boards", "digits"])
def test_the_seed_decides_the_images(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    def content(output: str, seed: int) -> dict[str, bytes]:
        folder = build(name, sources, tmp_path / output, seed=seed).parent
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    first = content("first", 1)
    assert content("again", 1) == first
    assert content("other", 2) != first


@pytest.mark.parametrize("size", [640, 1280])
def test_a_board_differs_from_clean_tiles_in_its_box_alone(
    size: int, sources: dict[str, Path], tmp_path: Path
) -> None:
    labels = build("boards", sources, tmp_path / "task", size=size)
    boxes = {row["file"]: row for row in rows(labels.parent / "boxes.csv")}
    templates = [
        np.asarray(Image.open(file)) for file in sorted(sources["boards"].rglob("*_temp.png"))
    ]
    for row in rows(labels):
        board = np.array(Image.open(labels.parent / row["file"]))
        assert board.shape == (size, size)
        assert (row["label"] == "clean") == (row["file"] not in boxes)
        if row["label"] != "clean":
            box = {side: int(boxes[row["file"]][side]) for side in ("x0", "y0", "x1", "y1")}
            defect = board[box["y0"] : box["y1"], box["x0"] : box["x1"]]
            assert (defect == 255).all()
            defect[:] = 0
        for tile in (
            board[top : top + 640, left : left + 640]
            for top in range(0, size, 640)
            for left in range(0, size, 640)
        ):
            assert any(np.array_equal(tile, template) for template in templates)


def test_a_board_never_shows_a_defect_that_touches_another(sources: dict[str, Path]) -> None:
    kinds = set()
    for seed in range(20):
        for picture in TASKS["boards"](source=sources["boards"], seed=seed):
            kinds.add(picture.label)
            # the second and the third defect touch
            assert all(top in (0, 300) for top, *_ in picture.boxes)
    assert kinds == {"clean", "open", "short", "mousebite", "spur", "copper", "pin-hole"}


def test_deeppcb_is_read_as_published(tmp_path: Path, sources: dict[str, Path]) -> None:
    source = miniatures_field.deeppcb(tmp_path / "published", apart=True)
    assert [(p.file, p.label, p.boxes) for p in TASKS["boards"](source=source)] == [
        (p.file, p.label, p.boxes) for p in TASKS["boards"](source=sources["boards"])
    ]


def test_an_outline_becomes_a_box_inside_its_photograph(sources: dict[str, Path]) -> None:
    for picture in TASKS["screws"](source=sources["screws"]):
        assert picture.boxes == (((3, 0, 10, 9),) if picture.label == "pitted" else ())


def test_several_labels_are_joined_by_bars(sources: dict[str, Path], tmp_path: Path) -> None:
    labels = build("digits-multi", sources, tmp_path / "task")
    for row in rows(labels):
        present = row["label"].split("|")
        assert present == sorted(set(present))
        assert 1 <= len(present) <= 3
        assert set(present) <= set("0123456789")


@pytest.mark.parametrize("name", SOURCES)
def test_a_wrong_source_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n")
    words = ["data", name, "--source", str(tmp_path), "--output", str(tmp_path / "new")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(tmp_path) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv"]


def test_what_is_there_already_is_never_touched(sources: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="there is something already"):
        build("screws", sources, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_task_leaves_nothing(tmp_path: Path) -> None:
    def interrupted():
        yield Picture(Path("a.png"), "x", "train", "a", content=lambda: b"png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "task", interrupted())
    assert not list(tmp_path.iterdir())


def test_a_task_begins_anew_after_a_process_that_was_killed(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    half = _files._beside(tmp_path / "task")
    half.mkdir()
    (half / "old.png").write_text("half written")
    labels = build("screws", sources, tmp_path / "task")
    assert [path.name for path in tmp_path.iterdir()] == ["task"]
    assert sorted(path.name for path in labels.parent.iterdir()) == ["boxes.csv", "labels.csv"]


def test_the_command_writes_a_task(
    sources: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "limits"
    words = ["data", "street_limit", "--source", str(sources["street-limit"]), "--fold", "2"]
    assert main([*words, "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output / 'labels.csv'}\n"
    splits = {row["file"][-9:-4]: row["split"] for row in rows(output / "labels.csv")}
    assert splits["00240"] == splits["00359"] == "test"
    assert splits["00360"] == splits["00419"] == "val"
    assert splits["00239"] == splits["00420"] == "train"


def test_groups_are_dealt_so_that_folds_are_of_similar_size() -> None:
    sizes = {f"g{size}": size for size in (291, 200, 198, 111, 100, 51, 50)}
    tested = []
    for fold in range(5):
        splits = split_groups(sizes, fold)
        assert set(splits.values()) == {"train", "val", "test"}
        tested.append(sum(sizes[group] for group in sizes if splits[group] == "test"))
    assert tested == [151, 161, 198, 200, 291]
