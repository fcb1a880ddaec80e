"""Laws of the pictures with digits among scribble, and of the files they are made from."""

import gzip
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import miniatures
from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.paper.data.megapixel_mnist import MegapixelMNIST, splits
from foveal.paper.data.megapixel_mnist.digits import read
from foveal.paper.data.megapixel_mnist.files import write
from foveal.paper.data.megapixel_mnist.noise import patterns
from foveal.paper.data.megapixel_mnist.questions import (
    Digit,
    largest,
    majority,
    presence,
    uppermost,
)

MNIST = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.exists(), reason="MNIST is not in ../shared/data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return miniatures.mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def pool(folder):
    return read(folder, "train")


def mini(pool, count=3, **changes):
    return MegapixelMNIST(count, pool, **{"seed": 0, "size": 200, "noise": 6, **changes})


def checksum(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


# These numbers are the law: every machine makes the same pixels. They change with the pictures.
@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [(200, {"noise": 6}, "ded0c36863541280"), (1500, {"noise": 50}, "38d1eb46062113cc")],
)
def test_pixels_are_the_same_on_every_machine(pool, size, changes, expected):
    assert checksum(mini(pool, 4, seed=7, size=size, **changes).picture(3)) == expected


@needs_mnist
def test_pixels_of_real_digits_are_the_same_on_every_machine():
    part = splits(MNIST, 3, 1, 1, seed=0).train
    assert part[2].image.size == (1500, 1500)
    assert checksum(part.picture(2)) == "046fa6c6da5813c6"


def test_digits_are_read_as_they_were_written(folder, tmp_path):
    digits = read(folder, "t10k")
    assert digits.pixels.shape == (60, 28, 28)
    assert digits.values[:4].tolist() == [0, 7, 4, 1]
    assert digits.pixels[1, 4, 6] == 20 * 7 + 50
    for file in folder.glob("t10k*"):  # not gzipped
        (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    assert np.array_equal(read(tmp_path, "t10k").pixels, digits.pixels)


@needs_mnist
def test_mnist_has_the_digits_it_is_known_for():
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        digits = read(MNIST, part)
        assert digits.pixels.shape == (count, 28, 28)
        assert Counter(digits.values.tolist())[5] == {"train": 5421, "t10k": 892}[part]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 9),
    index=st.integers(0, 30),
    count=st.integers(1, 7),
    noise=st.integers(0, 9),
)
def test_a_picture_shows_its_digits_whole_and_most_of_them_are_its_label(
    pool, seed, index, count, noise
):
    equal = count // 2 + 1
    made = mini(pool, index + 1, seed=seed, digits=count, equal=equal, noise=noise)
    digits, picture = made.digits(index), made.picture(index)
    assert len(digits) == count
    assert sum(digit.value == made.labels[index] for digit in digits) == equal
    for digit, number in zip(digits, made.chosen[index], strict=True):
        top, left, bottom, right = digit.box
        assert min(top, left) >= 0
        assert max(bottom, right) <= 200
        assert np.array_equal(picture[0, top:bottom, left:right], pool.pixels[number])
        assert pool.values[number] == digit.value


def test_what_is_neither_digit_nor_scribble_is_black(pool):
    made = mini(pool, noise=2)
    picture = made.picture(1).clone()
    for top, left in [*made.places[1].tolist(), *made.scribble[1][:, 1:].tolist()]:
        picture[0, top : top + 28, left : left + 28] = 0
    assert not picture.any()


def test_same_seed_same_pixels_whatever_the_count(pool):
    assert torch.equal(mini(pool, 3).picture(2), mini(pool, 9).picture(2))


def test_seeds_and_splits_and_indices_differ(pool):
    made = [mini(pool), mini(pool, seed=1), mini(pool, split="val"), mini(pool, split="test")]
    pictures = {checksum(each.picture(index)) for each in made for index in range(3)}
    assert len(pictures) == 12
    assert len({checksum(each.patterns) for each in made}) == 4


def test_scribble_is_strokes_from_edge_to_edge_on_black():
    squares = patterns(np.random.Generator(np.random.PCG64(0)))
    assert squares.shape == (50, 28, 28)
    assert squares.dtype == np.uint8
    for square in squares:
        lit = square[square > 0]
        assert 28 <= len(lit) <= 110  # one or two strokes of 28 to 56 pixels
        assert lit.min() >= 204
        edges = [square[0], square[-1], square[:, 0], square[:, -1]]
        assert sum(bool(edge.any()) for edge in edges) >= 2


def test_labels_answer_the_four_questions():
    values, tops = (3, 7, 3, 3, 0), (50, 40, 90, 9, 20)
    digits = [Digit(value, (top, 0, top + 28, 28)) for value, top in zip(values, tops, strict=True)]
    assert (majority(digits), largest(digits), uppermost(digits)) == (3, 7, 3)
    assert presence(digits).nonzero().flatten().tolist() == [0, 3, 7]


@pytest.mark.parametrize("label", [majority, largest, uppermost])
def test_labels_are_those_of_the_digits(pool, label):
    made = mini(pool, 20, label=label)
    assert made.labels.tolist() == [label(made.digits(index)) for index in range(20)]
    example = made[-1]
    assert (example.label, example.file[:4]) == (int(made.labels[19]), "trai")
    assert example.boxes.tolist() == [list(digit.box) for digit in made.digits(19)]


def test_a_picture_may_bear_all_its_digits(pool):
    made = mini(pool, 20, label=presence)
    for index, label in enumerate(made.labels):
        values = {digit.value for digit in made.digits(index)}
        assert label.nonzero().flatten().tolist() == sorted(values)
        name = " + ".join(map(str, sorted(values)))
        assert made[index].file == f"train/{name}/{index:05d}.png"
    assert made.labels.dtype == torch.bool
    assert torch.equal(made[-1].label, made.labels[19])


def test_no_digit_is_in_two_parts(folder):
    parts = splits(folder, 40, 40, 40, seed=0, size=200, noise=0)
    seen = [
        {part.pool.pixels[number].tobytes() for number in part.chosen.flatten()}
        for part in (parts.train, parts.validation)
    ]
    assert not seen[0] & seen[1]
    assert len(parts.train.pool.values) == 100
    assert len(parts.validation.pool.values) == 20
    assert len(parts.test.pool.values) == 60


def test_pictures_take_no_memory_before_they_are_asked_for(pool):
    made = mini(pool, 50, size=1500, noise=50)
    held = sum(a.nbytes for a in (made.chosen, made.places, made.scribble, made.patterns))
    assert held < made.picture(0).numel() / 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 0}, "count=0"),
        ({"digits": 6, "equal": 3}, "more than half of digits=6: got 3"),
        ({"digits": 3, "equal": 4}, "got 4"),
        ({"noise": -1}, "noise=-1"),
        ({"split": "valid"}, "'valid'"),
        ({"size": 27}, "5 digits find no place in 27 x 27"),
        ({"size": 60}, "5 digits find no place in 60 x 60"),
    ],
)
def test_settings_out_of_range_are_refused(pool, changes, said):
    with pytest.raises(ValueError, match=said):
        mini(pool, **changes)


def test_an_index_out_of_range_ends_the_sequence(pool):
    with pytest.raises(IndexError, match="3 of 3"):
        mini(pool)[3]
    assert len(list(mini(pool))) == 3


def rewritten(folder, tmp_path, name, content):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(content)
    return tmp_path


def test_files_that_are_no_mnist_are_one_clear_error(folder, tmp_path):
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is missing: give the folder"):
        read(tmp_path, "train")
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    good = gzip.decompress((folder / labels).read_bytes())
    for name, content, said in (
        (images, b"nothing", "cannot be read"),
        (images, (folder / images).read_bytes()[:100], "cannot be read"),
        (images, gzip.compress(good), "no idx file of bytes with 3 axes"),
        (labels, gzip.compress(good[:-1]), "119 values, not"),
        (labels, gzip.compress(good[:7] + bytes((60,)) + good[8:68]), "pixels for 60 labels"),
        (labels, gzip.compress(good[:-1] + bytes((10,))), "labels are not of"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            read(rewritten(folder, tmp_path, name, content), "train")
        assert "\n" not in str(caught.value)


def test_what_is_written_is_read_back_with_its_boxes(folder, tmp_path):
    parts = splits(folder, 50, 4, 4, seed=0, size=160, noise=3)
    write(tmp_path, vars(parts).values())
    back = read_folder(tmp_path)
    assert (len(back.train), len(back.validation), len(back.test)) == (50, 4, 4)
    for made, found in zip(vars(parts).values(), vars(back).values(), strict=True):
        known = {example.file: example for example in made}
        for example in found:
            original = known[example.file]
            assert found.classes[example.label] == made.classes[original.label]
            assert sorted(example.boxes.tolist()) == sorted(original.boxes.tolist())
            assert torch.equal(example.image.decode()[:1], original.image.pixels)


def test_a_place_that_cannot_be_written_to_is_one_clear_error(pool, tmp_path):
    (tmp_path / "train").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path, [mini(pool)])
