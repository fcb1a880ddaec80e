"""Laws of folders and CSVs: what is read, how it is split, and every mistake in one line."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import miniatures
from foveal.data import Splits
from foveal.data.folder import ImageFiles, check, describe, read_folder, read_whole
from foveal.data.folder.listing import image_files, natural_key
from foveal.data.folder.splitting import stratified
from foveal.errors import UserError


def files(part: object) -> list[str]:
    assert isinstance(part, ImageFiles)
    return [part[index].file for index in range(len(part))]


def refused(path: Path, words: str, **options: object) -> str:
    """The message with which a data set is refused: one line that names the place and a remedy."""
    with pytest.raises(UserError, match=words) as caught:
        read_folder(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message
    return message


# what is found


def test_every_image_has_the_label_of_its_folder(tmp_path: Path) -> None:
    data = read_whole(miniatures.class_folders(tmp_path, {"b": 3, "a": 4}))
    assert data.classes == ("a", "b")
    assert data.labels.tolist() == [0] * 4 + [1] * 3
    for index in range(len(data)):
        example = data[index]
        assert example.file.startswith(f"{data.classes[example.label]}/")
        assert example.image.size == (24, 32)
        assert example.boxes is None
        assert example.image.view((6, 8)).shape == (3, 6, 8)


def test_classes_and_files_are_sorted_naturally(tmp_path: Path) -> None:
    data = read_whole(miniatures.class_folders(tmp_path, {"10": 1, "9": 12, "x2": 1, "x10": 1}))
    assert data.classes == ("9", "10", "x2", "x10")
    assert files(data)[:3] == ["9/0.png", "9/1.png", "9/2.png"]
    assert files(data)[9:12] == ["9/9.png", "9/10.png", "9/11.png"]


def test_names_are_sorted_by_numbers_of_any_length() -> None:
    numbers = ["0", "7", "12", "9" * 4000, f"1{'0' * 5000}", f"1{'0' * 4999}1"]
    keys = [natural_key(f"x{number}") for number in numbers]
    assert keys == sorted(keys)
    assert sorted(["x10", "x٩", "x007"], key=natural_key) == ["x007", "x٩", "x10"]


def test_images_in_nested_folders_are_found(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    miniatures.write(tmp_path / "cat" / "young" / "a.JPEG", miniatures.pixels(8, 8))
    assert "cat/young/a.JPEG" in files(read_whole(tmp_path))


def test_no_decoded_image_is_kept(tmp_path: Path) -> None:
    data = read_whole(miniatures.class_folders(tmp_path))
    assert data[0].image is not data[0].image


def test_prediction_finds_the_images_that_training_finds(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, {"9": 3, "10": 12})
    miniatures.write(tmp_path / "9" / "young" / "a.JPEG", miniatures.pixels(8, 8))
    for name in (".hidden.png", "9/.thumbs/0.png", "__MACOSX/9/0.png", "9/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == files(read_whole(tmp_path))


def test_a_folder_without_images_has_none_to_predict(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"no images in this folder; images end in \.bif"):
        image_files(tmp_path)


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_given_split_folders_stay_as_they_are(tmp_path: Path, word: str) -> None:
    splits = read_folder(miniatures.class_folders(tmp_path, parts=("train", word, "test")))
    assert all(name.startswith("train/") for name in files(splits.train))
    assert all(name.startswith(f"{word}/") for name in files(splits.validation))
    assert all(name.startswith("test/") for name in files(splits.test))
    assert len(splits.train) == len(splits.validation) == 10


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    assert read_whole(miniatures.class_folders(tmp_path, {"train": 2, "test": 2})).classes == (
        "test",
        "train",
    )


def test_a_csv_gives_labels_relative_to_itself(tmp_path: Path) -> None:
    data = read_whole(miniatures.labels_csv(tmp_path))
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 1] * 5
    assert data[3].file == "images/3.png"
    assert data[3].image.size == (24, 32)


def test_a_csv_may_give_the_split(tmp_path: Path) -> None:
    splits = read_folder(miniatures.labels_csv(tmp_path, parts=("train", "val", "test")))
    assert files(splits.train) == [f"images/{i}.png" for i in (0, 1, 6, 7)]
    assert files(splits.validation) == [f"images/{i}.png" for i in (2, 3, 8, 9)]
    assert files(splits.test) == [f"images/{i}.png" for i in (4, 5)]


def test_a_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = miniatures.labels_csv(tmp_path)
    text = path.read_text(encoding="utf-8").replace(",", " ; ").replace("file", "File")
    path.write_text(text + "\n ; \n", encoding="utf-8-sig")
    assert len(read_whole(path)) == 10


def test_repeated_rows_count_once(tmp_path: Path) -> None:
    path = miniatures.labels_csv(tmp_path)
    with path.open("a", encoding="utf-8") as stream:
        stream.write("./images/0.png,cat\n")
    data = read_whole(path)
    assert len(data) == 10
    assert data.notes == ("ignored 1 repeated rows",)


def test_fixed_classes_keep_their_numbers(tmp_path: Path) -> None:
    data = read_whole(miniatures.class_folders(tmp_path), classes=("dog", "cow", "cat"))
    assert data.classes == ("dog", "cow", "cat")
    assert data.labels.unique().tolist() == [0, 2]


def test_one_known_class_is_enough_for_a_trained_model(tmp_path: Path) -> None:
    assert len(read_whole(miniatures.class_folders(tmp_path, {"cat": 2}), classes=["cat", "dog"]))


# boxes


@pytest.mark.parametrize("table", [True, False])
def test_boxes_come_as_top_left_bottom_right(tmp_path: Path, table: bool) -> None:
    if table:
        path, name = miniatures.labels_csv(tmp_path), "images/0.png"
    else:
        path, name = miniatures.class_folders(tmp_path), "cat/0.png"
    miniatures.boxes_csv(tmp_path, [(name, 1, 2, 31, 24), (name, "0.5", 0, 3.5, 4)])
    data = read_whole(path)
    boxes = data[0].boxes
    assert boxes is not None
    assert boxes.tolist() == [[2, 1, 24, 31], [0, 0, 4, 4]]
    assert boxes.dtype == torch.int64
    assert data[1].boxes is None


def test_boxes_are_in_every_split(tmp_path: Path) -> None:
    names = [f"cat/{i}.png" for i in range(4)] + [f"dog/{i}.png" for i in range(6)]
    miniatures.class_folders(tmp_path)
    miniatures.boxes_csv(tmp_path, [(name, 0, 0, 8, 8) for name in names])
    splits = read_folder(tmp_path)
    for part in (splits.train, splits.validation, splits.test):
        assert part is not None
        assert all(part[i].boxes is not None for i in range(len(part)))


def test_boxes_of_images_outside_the_csv_are_ignored_with_a_note(tmp_path: Path) -> None:
    path = miniatures.labels_csv(tmp_path)
    miniatures.write(tmp_path / "images" / "more.png", miniatures.pixels(24, 32))
    miniatures.boxes_csv(tmp_path, [("images/more.png", 0, 0, 8, 8)])
    assert read_whole(path).notes == ("ignored 1 boxes of images that are not in the data set",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("cat/0.png", 1, 2, "x", 4), r"not a box: cat/0.png \(line 3\)"),
        (("cat/0.png", 1, 2, "nan", 4), "not a box"),
        (("cat/0.png", 1, 2, "inf", 4), "not a box"),
        (("cat/0.png", 1, 2), "not a box"),
        (("cat/0.png", 9, 2, 3, 4), "not a box"),
        (("cat/none.png", 1, 2, 3, 4), "unknown files: cat/none.png"),
        (("cat/0.png", 1, 2, 33, 4), r"outside the image: cat/0.png \(line 3\) in 24 x 32"),
        (("cat/0.png", -1, 2, 3, 4), "outside the image"),
        (("cat/0.png", 1, 2, 3, 4, 5), "6 cells under 5 columns"),
    ],
)
def test_a_bad_box_is_refused(tmp_path: Path, row: tuple[object, ...], words: str) -> None:
    miniatures.class_folders(tmp_path)
    miniatures.boxes_csv(tmp_path, [("cat/0.png", 0, 0, 8, 8), row])
    assert "boxes.csv" in refused(tmp_path, words)


# how it is split


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    shares=st.tuples(st.floats(0.01, 0.45), st.floats(0.0, 0.45)),
)
def test_a_split_is_a_partition_with_every_class_in_every_part(
    counts: list[int], shares: tuple[float, float]
) -> None:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    parts = stratified(labels, shares, torch.Generator().manual_seed(0))
    assert sorted(chain(*parts)) == list(range(len(labels)))
    for label, count in enumerate(counts):
        held = [int((labels[part] == label).sum()) for part in parts]
        assert held[0] >= 1
        if count >= 3:
            assert held[1] >= 1
            assert held[2] >= (shares[1] > 0)
            assert abs(held[1] - shares[0] * count) <= 1


def test_the_same_seed_gives_the_same_split(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, {"a": 10, "b": 12})
    first, again, other = (read_folder(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert files(first.test) == files(again.test)
    assert files(first.train) == files(again.train)
    assert files(first.train) != files(other.train)


def test_no_image_is_in_two_splits(tmp_path: Path) -> None:
    splits = read_folder(miniatures.class_folders(tmp_path, {"a": 10, "b": 12}))
    together = files(splits.train) + files(splits.validation) + files(splits.test)
    assert sorted(together) == sorted(files(read_whole(tmp_path)))


def test_no_test_share_gives_no_test_split(tmp_path: Path) -> None:
    assert read_folder(miniatures.class_folders(tmp_path), test=0.0).test is None


def test_a_missing_validation_split_is_taken_from_train(tmp_path: Path) -> None:
    splits = read_folder(miniatures.class_folders(tmp_path, parts=("train", "test")))
    assert len(splits.train) == 8
    assert all(name.startswith("train/") for name in files(splits.validation))
    assert len(files(splits.test)) == 10
    assert "validation: random stratified split of train" in describe(splits)


def test_a_missing_test_split_stays_missing(tmp_path: Path) -> None:
    splits = read_folder(miniatures.class_folders(tmp_path, parts=("train", "val")))
    assert splits.test is None
    assert "no test split" in describe(splits)


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.5, 0.5), (-0.1, 0.2), (0.1, -0.2), (1.0, 0.0)])
def test_shares_that_leave_nothing_are_refused(tmp_path: Path, shares: tuple[float, float]) -> None:
    miniatures.class_folders(tmp_path)
    with pytest.raises(UserError, match="sum below 1"):
        read_folder(tmp_path, validation=shares[0], test=shares[1])


# mistakes in folders


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such folder")


def test_an_image_is_no_data_set(tmp_path: Path) -> None:
    refused(miniatures.write(tmp_path / "a.png", miniatures.pixels(4, 4)), "an image, not a data")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no images and no class folders")


def test_images_without_class_folders_are_refused_and_the_csv_beside_them_named(
    tmp_path: Path,
) -> None:
    miniatures.write(tmp_path / "a.png", miniatures.pixels(4, 4))
    miniatures.table(tmp_path / "labels.csv", "file,label", [("a.png", "cat")])
    assert "labels.csv" in refused(tmp_path, "1 images but no class folders")


def test_folders_without_any_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.txt").touch()
    refused(tmp_path, "no images in cat/; images end in .bif")


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    (miniatures.class_folders(tmp_path) / "cow").mkdir()
    refused(tmp_path, "no images in cow/")


def test_one_class_is_refused(tmp_path: Path) -> None:
    refused(miniatures.class_folders(tmp_path, {"cat": 3}), "only one class, 'cat'")


def test_a_csv_beside_its_folder_of_images_is_named(tmp_path: Path) -> None:
    path = miniatures.labels_csv(tmp_path)
    assert str(path) in refused(tmp_path, "only one class, 'images'")


def test_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    for index in range(5):
        miniatures.write(tmp_path / f"{index}.png", miniatures.pixels(4, 4))
    refused(tmp_path, r"5 images lie beside the class folders \(0.png, 1.png, 2.png and 2 more\)")


def test_images_beside_split_folders_are_refused(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, parts=("train", "val"))
    miniatures.write(tmp_path / "test" / "a.png", miniatures.pixels(4, 4))
    refused(tmp_path, "in no class folder beside train/: test/")


def test_a_class_without_training_images_is_refused(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, parts=("train", "val"))
    miniatures.write(tmp_path / "val" / "cow" / "a.png", miniatures.pixels(4, 4))
    refused(tmp_path, "no image of class 'cow' in train")


def test_splits_without_train_are_refused_but_read_whole(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, parts=("test",))
    refused(tmp_path, "no train split, only test")
    assert len(read_whole(tmp_path)) == 10


def test_single_images_per_class_leave_nothing_to_validate(tmp_path: Path) -> None:
    refused(miniatures.class_folders(tmp_path, {"a": 1, "b": 1}), "too few images")


def test_a_label_unknown_to_the_model_is_refused(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    refused(tmp_path, "unknown class 'dog'; the model knows cat, cow", classes=("cat", "cow"))


def test_hidden_files_are_ignored_and_others_counted(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    for name in (".DS_Store", "cat/.hidden.png", ".git/a.png", "cat/notes.txt", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    splits = read_folder(tmp_path)
    assert len(read_whole(tmp_path)) == 10
    assert "ignored 2 other files (2 .txt)" in describe(splits)


# mistakes in tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column file, label in the header, which has none"),
        ("name,label\na.png,cat\n", "no column file in the header, which has name, label"),
        ("file,label\n", "no rows"),
        ("file,label\n,cat\n", "line 2: empty file"),
        ("file,label\na.png,\n", "line 2: empty label"),
        ("file,label\na.png\n", "line 2: empty label"),
        ("file,label\na.png,cat,big\n", "line 2: 3 cells under 2 columns"),
        ("file,label\na.png,cat\nx.png,dog\n", r"1 of 2 files are missing: x.png \(line 3\)"),
        ("file,label\na.png,cat\na.png,dog\n", r"different labels .* a.png \(lines 2 and 3\)"),
        ("file,label,split\na.png,cat,train\na.png,cat,test\n", "listed twice with different"),
        ("file,label,split\na.png,cat,learn\n", "line 2: unknown split 'learn'; use train"),
        ("file,label,split\na.png,cat,train\nb.png,dog,\n", "1 rows have no split"),
        ("file,label,split\na.png,cat,test\nb.png,dog,test\n", "no train split"),
        ('file,label\n"a.png,cat\n', "line 2: unexpected end"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    for name in ("a.png", "b.png"):
        miniatures.write(tmp_path / name, miniatures.pixels(4, 4))
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    assert refused(path, words).startswith(str(path))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na.png,Käfer\n", encoding=encoding)
    refused(path, "not UTF-8")


def test_many_missing_files_are_counted(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "cat") for i in range(9)]
    path = miniatures.table(tmp_path / "labels.csv", "file,label", rows)
    refused(path, "9 of 9 files are missing: .* and 6 more")


# summed up, and checked


def test_the_description_is_one_line_with_the_counts(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, {"cat": 10, "dog": 20, "cow": 10})
    miniatures.write(tmp_path / "cat" / "0.png", miniatures.pixels(48, 64))
    description = describe(read_folder(tmp_path, seed=3, validation=0.2, test=0.1))
    assert "\n" not in description
    for words in (
        "40 images of 3 classes",
        "train 28, validation 8, test 4",
        "per class (train/validation/test): dog 14/4/2",
        "cat 7/2/1",
        "most frequent class dog (50.0%)",
        "24 x 32 to 48 x 64",
        "seed 3",
    ):
        assert words in description


def test_the_description_of_many_classes_is_short(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, {f"c{i}": 3 for i in range(30)}, size=(4, 4))
    assert "... 24 more ..." in describe(read_folder(tmp_path))


def test_good_images_pass_the_check(tmp_path: Path) -> None:
    splits = read_folder(miniatures.class_folders(tmp_path))
    check(splits.train)
    check(splits.train, decode=True)


def test_the_check_counts_bad_images_and_names_three(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    for index in range(4):
        (tmp_path / "dog" / f"{index}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^4 of 10 images .*; and 1 more$") as caught:
        check(read_whole(tmp_path))
    assert str(caught.value).count("empty file") == 3


def test_decoding_finds_files_that_were_cut_short(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path, size=(64, 64))
    file = tmp_path / "dog" / "0.png"
    miniatures.truncated(file, file)
    data = read_whole(tmp_path)
    check(data)
    with pytest.raises(UserError, match=r"1 of 10 images .*0\.png.*truncated"):
        check(data, decode=True)


def test_bad_images_with_boxes_are_left_to_the_check(tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path)
    miniatures.boxes_csv(tmp_path, [("dog/0.png", 0, 0, 8, 8)])
    (tmp_path / "dog" / "0.png").write_bytes(b"")
    assert isinstance(read_folder(tmp_path), Splits)
