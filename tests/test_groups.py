"""Laws of groups, cross-validation and sets of classes: what belongs together stays together."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

import miniatures
from foveal.data import Splits
from foveal.data.folder import ImageFiles, describe, read_folder, read_whole
from foveal.data.folder.dealing import deal
from foveal.errors import UserError
from foveal.paper import recipes


def listed(root: Path, header: str, rows: Sequence[Sequence[str]]) -> Path:
    """A CSV of empty files: a split looks at no pixel."""
    for row in rows:
        (root / row[0]).touch()
    return miniatures.table(root / "labels.csv", header, rows)


def parts_of(splits: Splits) -> dict[str, ImageFiles]:
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: part for name, part in named.items() if isinstance(part, ImageFiles)}


def shares_held(
    bearing: torch.Tensor, groups: Sequence[object], place: Sequence[int], parts: int
) -> torch.Tensor:
    """Share of the images of each class, and of all, in each part; a slow loop."""
    held = torch.zeros(parts, bearing.shape[1] + 1, dtype=torch.float64)
    for row, part in zip(bearing.tolist(), place, strict=True):
        for column, has in enumerate([*row, True]):
            held[part, column] += float(has)
    return held / held.sum(dim=0).clamp(min=1)


def cost(held: torch.Tensor, shares: Sequence[float]) -> float:
    """How far parts are from their shares, as `deal` states it."""
    total = 0.0
    for part, share in enumerate(shares):
        for value in held[part].tolist():
            total += (value - share) ** 2 / share + (value == 0) * (100 if part == 0 else 10)
    return total


# dealing


@settings(deadline=None, max_examples=25)
@given(
    groups=st.lists(st.integers(0, 30), min_size=3, max_size=60),
    bits=st.integers(0, 2**180 - 1),
    seed=st.integers(0, 9),
)
def test_every_group_is_dealt_to_one_part(groups: list[int], bits: int, seed: int) -> None:
    bearing = torch.tensor([[bits >> (3 * i + c) & 1 == 1 for c in range(3)] for i in range(60)])
    bearing = bearing[: len(groups)]
    parts = deal(bearing, groups, (0.7, 0.15, 0.15), torch.Generator().manual_seed(seed))
    assert sorted(itertools.chain(*parts)) == list(range(len(groups)))
    of = [{groups[i] for i in part} for part in parts]
    assert not of[0] & of[1]
    assert not of[0] & of[2]
    assert not of[1] & of[2]
    if len(set(groups)) >= 5:  # each of three classes may need one in the first part
        assert all(parts)


@settings(deadline=None, max_examples=15)
@given(
    groups=st.lists(st.integers(0, 5), min_size=3, max_size=25),
    bits=st.integers(0, 2**50 - 1),
)
@example(groups=[0, 3, 1, 1, 0, 2], bits=1129)
def test_few_groups_are_dealt_as_well_as_any_deal_can(groups: list[int], bits: int) -> None:
    shares = (0.7, 0.15, 0.15)
    bearing = torch.tensor([[bits >> (2 * i + c) & 1 == 1 for c in range(2)] for i in range(25)])
    bearing = bearing[: len(groups)]
    parts = deal(bearing, groups, shares, torch.Generator().manual_seed(0))
    mine = [next(p for p, part in enumerate(parts) if i in part) for i in range(len(groups))]
    names = sorted(set(groups))
    best = min(
        cost(shares_held(bearing, groups, [at[names.index(g)] for g in groups], 3), shares)
        for at in itertools.product(range(3), repeat=len(names))
    )
    assert cost(shares_held(bearing, groups, mine, 3), shares) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_many_groups_give_every_part_its_share_of_every_class(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.randint(100, (1000,), generator=generator).tolist()
    bearing = torch.rand(1000, 4, generator=generator) < torch.tensor([0.02, 0.1, 0.3, 0.7])
    parts = deal(bearing, groups, (0.7, 0.15, 0.15), generator)
    place = [next(p for p, part in enumerate(parts) if i in part) for i in range(1000)]
    held = shares_held(bearing, groups, place, 3)
    expected = torch.tensor([[0.7], [0.15], [0.15]], dtype=torch.float64)
    assert (held[:, 1:] - expected).abs().max() < 0.02
    assert (held[:, 0] - expected[:, 0]).abs().max() < 0.1


# the column group


def patients(root: Path, split: bool = False, images: int = 4) -> Path:
    """Twelve patients of one class each, with several images."""
    rows = []
    for patient in range(12):
        for index in range(images):
            row = [f"{patient}_{index}.png", ("sick", "well")[patient % 2], f"p{patient}"]
            rows.append([*row, ("train", "val", "test")[index % 3]] if split else row)
    return listed(root, "file,label,group,split" if split else "file,label,group", rows)


@pytest.mark.parametrize("seed", range(4))
def test_a_split_that_is_made_keeps_groups_on_one_side(tmp_path: Path, seed: int) -> None:
    parts = parts_of(read_folder(patients(tmp_path), seed=seed))
    groups = {name: set(part.groups or ()) for name, part in parts.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 12
    for part in parts.values():
        assert part.labels.bincount().tolist() == [len(part) // 2] * 2
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 32,
        "validation": 8,
        "test": 8,
    }


def test_without_the_column_there_are_no_groups(tmp_path: Path) -> None:
    assert read_whole(miniatures.labels_csv(tmp_path)).groups is None


def test_an_image_without_a_group_is_one_by_itself(tmp_path: Path) -> None:
    rows = [("a.png", "cat", "x"), ("b.png", "dog", ""), ("c.png", "dog", "x")]
    assert read_whole(listed(tmp_path, "file,label,group", rows)).groups == ("x", "b.png", "x")


def test_the_description_counts_groups(tmp_path: Path) -> None:
    path = patients(tmp_path, images=1)
    for file in tmp_path.glob("*.png"):
        miniatures.write(file, miniatures.pixels(8, 8))
    said = describe(read_folder(path))
    assert "12 groups" in said
    assert "random stratified split by group, seed 0" in said


def test_given_splits_that_divide_a_group_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"12 of 12 groups are in several splits: 'p0' \(test, tr"):
        read_folder(patients(tmp_path, split=True))


def test_validation_is_taken_out_of_train_by_group(tmp_path: Path) -> None:
    rows = [
        (f"{p}_{i}.png", "ab"[p % 2], f"p{p}", "test" if p > 7 else "train")
        for p in range(10)
        for i in range(3)
    ]
    parts = parts_of(read_folder(listed(tmp_path, "file,label,group,split", rows)))
    assert not set(parts["train"].groups or ()) & set(parts["validation"].groups or ())
    assert set(parts["test"].groups or ()) == {"p8", "p9"}


def test_one_group_cannot_be_divided(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], "all") for i in range(10)]
    with pytest.raises(UserError, match="too few groups for validation"):
        read_folder(listed(tmp_path, "file,label,group", rows))


# cross-validation


@pytest.mark.parametrize("grouped", [False, True])
def test_the_folds_test_on_every_image_once(tmp_path: Path, grouped: bool) -> None:
    path = patients(tmp_path)
    if not grouped:
        rows = [(f"{p}_{i}.png", ("sick", "well")[p % 2]) for p in range(12) for i in range(4)]
        path = miniatures.table(path, "file,label", rows)
    tested: list[str] = []
    for fold in range(3):
        parts = parts_of(read_folder(path, folds=3, fold=fold, seed=5))
        files = {name: [image.file for image in part.images] for name, part in parts.items()}
        assert len(set(itertools.chain(*files.values()))) == 48
        assert len(files["test"]) == 16
        assert parts["test"].labels.bincount().tolist() == [8, 8]
        if grouped:
            held = [set(part.groups or ()) for part in parts.values()]
            assert sum(map(len, held)) == 12
        tested += files["test"]
    assert sorted(tested) == sorted(image.file for image in read_whole(path).images)


@pytest.mark.parametrize("fold", [(1, 0), (3, 3), (3, -1)])
def test_folds_that_do_not_exist_are_refused(tmp_path: Path, fold: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="give 2 folds or more"):
        read_folder(patients(tmp_path), folds=fold[0], fold=fold[1])


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.integers(0, 2), min_size=6, max_size=30),
    groups=st.one_of(st.none(), st.lists(st.integers(0, 8), min_size=30, max_size=30)),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
    multilabel=st.booleans(),
)
def test_folds_partition_any_data_keep_groups_and_follow_from_the_seed(
    tmp_path_factory: pytest.TempPathFactory,
    labels: list[int],
    groups: list[int] | None,
    folds: int,
    seed: int,
    multilabel: bool,
) -> None:
    rows = [
        (f"{i}.png", f"c{label}", f"g{(groups or [0] * 30)[i]}"[: 2 * (groups is not None)])
        for i, label in enumerate(labels)
    ]
    path = listed(tmp_path_factory.mktemp("data"), "file,label,group", rows)

    def read(fold: int) -> dict[str, ImageFiles]:
        asked = {"multilabel": True} if multilabel else {}
        return parts_of(read_folder(path, folds=folds, fold=fold, seed=seed, **asked))

    tested: list[str] = []
    sizes: list[list[int]] = []
    try:
        every = [read(fold) for fold in range(folds)]
    except UserError:
        reject()  # too few images or groups; which ones is another test's matter
    for fold, parts in enumerate(every):
        files = {name: [image.file for image in part.images] for name, part in parts.items()}
        assert sorted(itertools.chain(*files.values())) == sorted(row[0] for row in rows)
        held = [set(part.groups or files[name]) for name, part in parts.items()]
        assert sum(map(len, held)) == len(set().union(*held))
        assert files == {n: [i.file for i in p.images] for n, p in read(fold).items()}
        tested += files["test"]
        sizes.append([sum(f"c{c}" in str(i.label) for i in parts["test"].images) for c in range(3)])
    assert sorted(tested) == sorted(row[0] for row in rows)
    if groups is None and not multilabel:
        assert all(max(counts) - min(counts) <= 1 for counts in zip(*sizes, strict=True))


def test_folds_refuse_a_given_test_split_and_pool_the_others(tmp_path: Path) -> None:
    path = miniatures.labels_csv(tmp_path / "three", parts=("train", "val", "test"))
    with pytest.raises(UserError, match="a test split is given"):
        read_folder(path, folds=2)
    path = miniatures.labels_csv(tmp_path / "two", parts=("train", "val"))
    every = [parts_of(read_folder(path, folds=2, fold=fold)) for fold in range(2)]
    tested = [image.file for parts in every for image in parts["test"].images]
    assert sorted(tested) == sorted(image.file for image in read_whole(path).images)
    assert "given splits (train, validation) pooled" in every[0]["train"].notes[-1]


@pytest.mark.parametrize(
    ("labels", "folds", "said"),
    [
        ("aabb", 5, "folds=5, but there are 4 images"),
        ("aaaab", 2, "class 'b' fall into one fold"),
    ],
)
def test_folds_that_could_not_all_be_trained_are_refused_at_the_first(
    tmp_path: Path, labels: str, folds: int, said: str
) -> None:
    path = listed(tmp_path, "file,label", [(f"{i}.png", c) for i, c in enumerate(labels)])
    for fold in range(folds):
        with pytest.raises(UserError, match=said):
            read_folder(path, folds=folds, fold=fold)


# several classes per image

PETS = [("a.png", "cat|dog"), ("b.png", "dog"), ("c.png", ""), ("d.png", " owl | cat ")]


def test_labels_with_a_bar_are_sets_of_classes(tmp_path: Path) -> None:
    data = read_whole(listed(tmp_path, "file,label", PETS))
    assert data.classes == ("cat", "dog", "owl")
    assert data.labels.tolist() == [
        [True, True, False],
        [False, True, False],
        [False, False, False],
        [True, False, True],
    ]
    label = data.subset([2, 3])[1].label
    assert isinstance(label, torch.Tensor)
    assert label.tolist() == [True, False, True]


def test_a_column_per_class_says_the_same(tmp_path: Path) -> None:
    data = read_whole(listed(tmp_path, "file,label", PETS))
    marks = [
        (row[0], "train", *(str(int(has)) for has in bits))
        for row, bits in zip(PETS, data.labels.tolist(), strict=True)
    ]
    path = miniatures.table(tmp_path / "marks.csv", "File,Split,cat,dog,owl", marks)
    again = read_whole(path, multilabel=True)
    assert again.classes == data.classes
    assert again.labels.tolist() == data.labels.tolist()


def test_single_labels_are_sets_if_asked(tmp_path: Path) -> None:
    rows = [("a.png", "cat"), ("b.png", ""), ("c.png", "cat")]
    data = read_whole(listed(tmp_path, "file,label", rows), multilabel=True)
    assert data.labels.tolist() == [[True], [False], [True]]


@settings(deadline=None, max_examples=10)
@given(
    sets=st.lists(st.sets(st.sampled_from("abcd")), min_size=12, max_size=40),
    seed=st.integers(0, 3),
)
def test_a_split_of_sets_is_a_partition(
    tmp_path_factory: pytest.TempPathFactory, sets: list[set[str]], seed: int
) -> None:
    rows = [(f"{i}.png", "|".join(names)) for i, names in enumerate([*sets, {"a", "b"}, {"b"}])]
    root = tmp_path_factory.mktemp("sets")
    parts = parts_of(read_folder(listed(root, "file,label", rows), seed=seed))
    files = [image.file for part in parts.values() for image in part.images]
    assert sorted(files) == sorted(row[0] for row in rows)
    assert set(parts) == {"train", "validation", "test"}
    assert abs(len(parts["validation"]) - 0.15 * len(rows)) <= 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,cat|\n", r"line 2: an empty name in 'cat\|'"),
        ("file,label\na.png,|\n", "line 2: an empty name"),
        ("file\na.png\n", "no column label and no columns of classes"),
        ("file,cat,size\na.png,1,300\n", "'300' in the column size; a column of a class"),
        ("file,cat,dog\na.png,1,0\n", "no row has a 1 in the column dog"),
        ("file,label\na.png,\n", "no image has a class"),
    ],
)
def test_bad_sets_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_whole(tmp_path / "t.csv", multilabel=True)


def test_class_folders_have_no_sets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="list the images in a CSV"):
        read_whole(miniatures.class_folders(tmp_path), multilabel=True)


def test_an_experiment_of_sets_predicts_sets(tmp_path: Path) -> None:
    for index in range(12):
        miniatures.write(tmp_path / f"{index}.png", miniatures.pixels(96, 96, seed=index))
    rows = [(f"{i}.png", ("cat|dog", "dog", "")[i % 3]) for i in range(12)]
    path = miniatures.table(tmp_path / "t.csv", "file,label", rows)
    experiment = recipes.build("folder", {"data": path, "encoder": "thin", "k": 2})
    assert experiment.multilabel
    assert experiment.options["optimisation"].class_weights is None
    assert "4 images have more than one, 4 have none" in experiment.notes[0]
