"""A run remembers its images: whatever happens to the folder, no trained image is a test image."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miniatures
from foveal.data import Splits
from foveal.data.folder import ImageFiles, read_folder
from foveal.data.folder.fingerprints import fingerprint, leaks, named_parts
from foveal.errors import UserError
from foveal.runs.data_table import overlap, recorded_splits, write

NAMES = st.sampled_from([f"{label}/{index}.png" for label in "ab" for index in range(10)])


def photos(root: Path) -> Path:
    """Two classes of ten files; what they hold is never decoded."""
    for label in "ab":
        (root / label).mkdir(parents=True)
        for index in range(10):
            (root / label / f"{index}.png").write_bytes(f"{label}{index}".encode() * 9)
    return root


def files(splits: Splits) -> dict[str, list[str]]:
    return {
        name: [image.file for image in part.images] for name, part in named_parts(splits).items()
    }


def again(table: Path, data: Path) -> Splits:
    return recorded_splits(table, lambda: read_folder(data), classes=("a", "b"), multilabel=False)


def notes(splits: Splits) -> tuple[str, ...]:
    assert isinstance(splits.train, ImageFiles)
    return splits.train.notes


@settings(deadline=None, max_examples=40)
@given(
    gone=st.sets(NAMES, max_size=6),
    changed=st.sets(NAMES, max_size=6),
    new=st.sets(st.sampled_from(["a/x.png", "a/00.png", "b/5a.jpg"])),
    seed=st.integers(0, 3),
)
def test_the_splits_of_a_run_outlive_every_change_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory,
    gone: set[str],
    changed: set[str],
    new: set[str],
    seed: int,
) -> None:
    root = tmp_path_factory.mktemp("run")
    data, table = photos(root / "data"), root / "data.csv"
    before = read_folder(data, seed=seed)
    assert write(table, before)
    assert notes(again(table, data)) == ()
    changed -= gone
    for name in gone:
        (data / name).unlink()
    for name in changed:
        (data / name).write_bytes(b"another picture")
    for name in new:
        (data / name).write_bytes(name.encode())
    after = again(table, data)
    assert files(after) == files(before)
    said = {kind: [n for n in notes(after) if kind in n] for kind in ("gone", "changed", "new")}
    for kind, names in (("gone", gone), ("changed", changed), ("new", new)):
        assert [int(note.split()[0]) for note in said[kind]] == ([len(names)] if names else [])
        assert sum(name in "".join(said[kind]) for name in names) == min(3, len(names))
    assert not any(
        name in note for name in new for kind in ("gone", "changed") for note in said[kind]
    )


def test_labels_groups_and_sets_come_back(tmp_path: Path) -> None:
    rows = [
        (f"caf\u00e9, {i}.png", ("cat|dog", "", "dog")[i % 3], f"day {i // 2}") for i in range(18)
    ]
    for row in rows:
        (tmp_path / row[0]).write_bytes(row[0].encode())
    data = miniatures.table(tmp_path / "t.csv", "file,label,group", rows)
    before, table = read_folder(data), tmp_path / "data.csv"
    write(table, before)
    after = recorded_splits(
        table, lambda: read_folder(data), classes=("cat", "dog"), multilabel=True
    )
    for one, other in zip(named_parts(before).values(), named_parts(after).values(), strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        assert one.groups == other.groups
        assert [image.path for image in one.images] == [image.path for image in other.images]


def test_a_label_that_has_changed_is_named_and_the_old_one_counts(tmp_path: Path) -> None:
    data = miniatures.labels_csv(tmp_path)
    before, table = read_folder(data), tmp_path / "data.csv"
    write(table, before)
    data.write_text(data.read_text().replace("3.png,dog", "3.png,cat"))
    after = recorded_splits(
        table, lambda: read_folder(data), classes=("cat", "dog"), multilabel=False
    )
    assert any("1 labels have changed" in n and "(cat, was dog)" in n for n in notes(after))
    assert after.train.labels.tolist() == before.train.labels.tolist()


def test_a_folder_that_no_longer_reads_leaves_the_splits(tmp_path: Path) -> None:
    data, table = photos(tmp_path / "data"), tmp_path / "data.csv"
    before = read_folder(data)
    write(table, before)
    (data / "empty class").mkdir()
    after = again(table, data)
    assert files(after) == files(before)
    assert "no longer as they were" in notes(after)[0]


def test_data_that_moved_away_are_asked_for(tmp_path: Path) -> None:
    data, table = photos(tmp_path / "data"), tmp_path / "data.csv"
    write(table, read_folder(data))
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="none of the 20 images of the run exists any more"):
        again(table, data)


@pytest.mark.parametrize("text", ["", "split,file\ntrain,a\n", "\xff\xfe", 'split,"file\n'])
def test_a_damaged_table_is_one_line(tmp_path: Path, text: str) -> None:
    table = tmp_path / "data.csv"
    table.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"data\.csv is damaged"):
        again(table, photos(tmp_path / "data"))


def test_images_in_memory_are_not_listed(tmp_path: Path) -> None:
    from foveal.data import wrap

    data = wrap([(miniatures.pixels(8, 8), 0), (miniatures.pixels(8, 8), 1)], classes=["a", "b"])
    assert not write(tmp_path / "data.csv", Splits(data, data))
    assert not (tmp_path / "data.csv").exists()


@settings(deadline=None, max_examples=25)
@given(taken=st.sets(NAMES, min_size=1), fresh=st.integers(0, 4))
def test_other_data_are_searched_for_images_of_the_run(
    tmp_path_factory: pytest.TempPathFactory, taken: set[str], fresh: int
) -> None:
    root = tmp_path_factory.mktemp("run")
    data, table, other = photos(root / "data"), root / "data.csv", root / "other"
    splits = read_folder(data)
    write(table, splits)
    images = []
    (other / "a").mkdir(parents=True)
    for number, name in enumerate(sorted(taken)):
        file = other / "a" / f"copy {number}.png"
        file.write_bytes((data / name).read_bytes())
        images.append(name)
    for number in range(fresh):
        (other / "a" / f"z{number}.png").write_bytes(f"z{number}".encode() * 9)
    from foveal.data.folder import read_whole

    seen = overlap(table, read_whole(other, classes=["a", "b"]), multilabel=False)
    by_split = files(splits)
    for split in ("train", "validation"):
        expected = [f"a/copy {n}.png" for n, name in enumerate(images) if name in by_split[split]]
        assert sorted(seen[split]) == sorted(expected)


def test_copies_in_two_splits_are_warned_of(tmp_path: Path) -> None:
    data = miniatures.class_folders(tmp_path, parts=("train", "val", "test"))
    (warning,) = leaks(read_folder(data))  # the miniature writes the same images into every part
    assert warning.startswith("warning: 10 images are in several splits, byte by byte: train/cat/0")
    for index, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        miniatures.write(file, miniatures.pixels(8, 8, seed=index))
    assert leaks(read_folder(data)) == []


def test_large_files_are_told_apart_by_pieces(tmp_path: Path) -> None:
    one, other = tmp_path / "one.tif", tmp_path / "other.tif"
    for file, byte in ((one, b"a"), (other, b"b")):
        with file.open("wb") as stream:  # sparse: takes no space
            stream.truncate(2**26 + 5)
            stream.seek(2**26 + 4)
            stream.write(byte)
    assert fingerprint(one) != fingerprint(other)
    other.write_bytes(one.read_bytes())
    assert fingerprint(one) == fingerprint(other)
