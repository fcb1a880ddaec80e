"""Laws of the painted billiards pictures and of their archive."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import UserError
from foveal.paper.data.billiards import Billiards, splits
from foveal.paper.data.billiards.archive import BilliardsArchive, read_archive, write
from foveal.paper.data.billiards.layout import DISC, MARGIN, scene
from foveal.paper.data.billiards.picture import picture
from foveal.paper.data.billiards.questions import QUESTIONS, ask, ends
from foveal.paper.data.billiards.scene import COLORS, Ball

MINI = {"balls": (2, 4), "radius": 14 / 192, "digit": 0.62}


def mini(count=3, **changes):
    return Billiards(count, **{"seed": 0, "size": 64, "workers": 1, **MINI, **changes})


def checksum(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


# These two numbers are the law: every machine makes the same pixels. They change with the pictures.
@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [(192, MINI, "ae39bb7a3c64cabc"), (1000, {}, "c62dbae70e4e0c52")],
)
def test_pixels_are_the_same_on_every_machine(size, settings, expected):
    assert checksum(picture(scene(7, 3, **settings), size)) == expected


def test_a_picture_has_three_channels_of_bytes():
    pixels = picture(scene(0, 0, **MINI), 64)
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 10


def test_same_seed_same_pixels():
    assert torch.equal(mini().images, mini().images)


def test_seeds_and_splits_and_indices_differ():
    parts = [mini(), mini(seed=1), mini(split="valid"), mini(split="test")]
    pictures = [image.numpy().tobytes() for part in parts for image in part.images]
    assert len(set(pictures)) == len(pictures)


def test_a_picture_depends_neither_on_count_nor_on_order_nor_on_workers():
    alone = picture(scene(0, 2, **MINI), 64)
    assert np.array_equal(mini(3).images[2], alone)
    assert np.array_equal(mini(10).images[2], alone)
    assert torch.equal(mini(100, workers=2).images, mini(100).images)


def test_painted_when_asked_for_is_the_same_as_kept(monkeypatch):
    kept = mini()
    monkeypatch.setattr("foveal.paper.data.billiards.MEMORY", 0)
    asked = mini()
    assert asked.images is None
    for one, other in zip(kept, asked, strict=True):
        whole = torch.tensor([[0, 0, 64, 64]])
        assert torch.equal(one.image.crops(whole, (64, 64)), other.image.crops(whole, (64, 64)))
        assert torch.equal(one.boxes, other.boxes)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 9), index=st.integers(0, 10_000), small=st.booleans())
def test_scenes_are_well_posed(seed, index, small):
    drawn = scene(seed, index, **(MINI if small else {}))
    balls = drawn.spheres
    low, high = MINI["balls"] if small else (4, 8)
    assert low <= len(balls) <= high
    assert all(1 <= ball.number <= 9 and ball.color in COLORS for ball in balls)
    across = sorted(balls, key=lambda ball: ball.position[0])
    seen = sorted(balls, key=lambda ball: ball.centre[1])
    assert (across[0], across[-1]) == (seen[0], seen[-1])
    assert across[1].position[0] - across[0].position[0] >= MARGIN
    assert across[-1].position[0] - across[-2].position[0] >= MARGIN
    assert seen[1].centre[1] - seen[0].centre[1] >= MARGIN
    assert seen[-1].centre[1] - seen[-2].centre[1] >= MARGIN


@settings(max_examples=100, deadline=None)
@given(index=st.integers(0, 10_000), small=st.booleans())
def test_no_number_is_covered_by_another_ball(index, small):
    drawn = scene(1, index, **(MINI if small else {}))
    for ball in drawn.spheres:
        middle = np.array(ball.centre) + np.array(ball.numeral.place) * ball.radius
        disc = DISC * drawn.digit * ball.radius
        for other in drawn.spheres:
            if other is not ball:
                assert np.hypot(*(middle - other.centre)) > disc + other.radius


@settings(max_examples=50, deadline=None)
@given(index=st.integers(0, 10_000), size=st.integers(32, 1000))
def test_boxes_hold_the_discs_and_lie_in_the_picture(index, size):
    drawn = scene(2, index)
    for ball, record in zip(drawn.spheres, drawn.records(size), strict=True):
        top, left, bottom, right = record.box
        (row, column), radius = np.multiply(ball.centre, size), ball.radius * size
        assert 0 <= top <= row - radius
        assert row + radius <= bottom <= size
        assert 0 <= left <= column - radius
        assert column + radius <= right <= size
        assert max(bottom - top, right - left) <= 2 * radius + 2


def test_pixels_change_only_near_a_ball_when_its_number_does():
    drawn = scene(3, 1, **MINI)
    changed = replace(drawn.spheres[0], number=drawn.spheres[0].number % 9 + 1)
    other = replace(drawn, spheres=(changed, *drawn.spheres[1:]))
    rows, columns = np.nonzero((picture(drawn, 192) != picture(other, 192)).any(0))
    top, left, bottom, right = changed.record(192).box
    assert len(rows)
    assert top <= rows.min() <= rows.max() < bottom
    assert left <= columns.min() <= columns.max() < right


def test_labels_are_the_larger_number_of_left_and_right():
    dataset = mini(30)
    for index, record in enumerate(dataset.records):
        left = min(record, key=lambda ball: ball.position[0])
        right = max(record, key=lambda ball: ball.position[0])
        assert dataset.classes[dataset[index].label] == str(max(left.number, right.number))
        assert dataset[index].boxes.tolist() == [list(left.box), list(right.box)]
        assert left.box[1] == min(ball.box[1] for ball in ends(record))


LEFT, MIDDLE, RIGHT = (
    Ball((-1.0, 0, 0), 5, "purple"),
    Ball((0.0, 0, 0), 9, "red"),
    Ball((1.0, 0, 0), 3, "orange"),
)


@pytest.mark.parametrize(
    ("question", "balls", "answer", "evidence"),
    [
        ("max_left_right", (MIDDLE, RIGHT, LEFT), "5", {LEFT, RIGHT}),
        ("rightmost", (RIGHT, MIDDLE, LEFT), "3", {RIGHT}),
        ("sum_modulo_10", (MIDDLE, RIGHT, LEFT), "7", {LEFT, MIDDLE, RIGHT}),
        ("left_colour_min_max", (MIDDLE, RIGHT, LEFT), "3", {LEFT, RIGHT}),
        ("left_colour_min_max", (MIDDLE, RIGHT), "9", {MIDDLE}),
    ],
)
def test_a_question_is_answered_from_places_in_space_and_from_the_balls_that_decide(
    question, balls, answer, evidence
):
    asked = QUESTIONS[question]
    assert asked.classes[asked.answer(balls)] == answer
    assert set(asked.evidence(balls)) == evidence


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_data_set_answers_its_question_and_draws_boxes_around_what_decides(question):
    asked = QUESTIONS[question]
    dataset = mini(question=question)
    for index, record in enumerate(dataset.records):
        assert dataset[index].label == asked.answer(record)
        assert dataset[index].boxes.tolist() == [list(b.box) for b in asked.evidence(record)]


def test_the_classes_are_the_numbers_that_are_painted():
    assert mini(numbers=3).classes == ask("max_left_right", 3).classes == ("1", "2", "3")
    assert len(mini(question="sum_modulo_10", numbers=3).classes) == 10


def test_only_the_part_that_is_used_is_painted():
    program = """if True:
        from foveal.paper.data import billiards
        paint, painted = billiards.picture, []
        billiards.picture = lambda scene, size: painted.append(size) or paint(scene, size)
        parts = billiards.splits(5, 2, 3, seed=4, size=64, balls=(2, 4), digit=0.6, radius=0.07)
        assert (len(parts.train), len(parts.test), painted) == (5, 3, [])
        assert parts.test[0].image.size == (64, 64)
        assert len(painted) == 3
    """  # in a process of its own: the types that tests check ask every data set for its labels
    subprocess.run([sys.executable, "-c", program], check=True)


def test_labels_paint_the_pictures_before_other_processes_need_them():
    dataset = mini()
    assert "images" not in vars(dataset)
    assert len(dataset.labels) == 3
    assert vars(dataset)["images"].shape == (3, 3, 64, 64)


def test_the_same_pictures_are_painted_once():
    first = splits(3, 1, 1, seed=0, size=64, **MINI)
    assert splits(3, 1, 1, seed=0, size=64, **MINI).train is first.train


def test_numbers_can_be_limited():
    numbers = [ball.number for record in mini(20, numbers=3).records for ball in record]
    assert set(numbers) == {1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balls": (5, 4)}, "fewest"),
        ({"balls": (1, 4)}, "fewest"),
        ({"radius": 0.5}, "radius"),
        ({"digit": 2.0}, "digit"),
        ({"numbers": 10}, "numbers"),
        ({"split": "training"}, "split"),
        ({"size": 8}, "size"),
        ({"count": 0}, "count"),
        ({"balls": (60, 60)}, "do not fit"),
        ({"question": "leftmost"}, "question must be one of max_left_right, "),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mini(**changes)


@pytest.fixture
def archive(tmp_path):
    parts = splits(3, 2, 2, seed=0, size=64, **MINI)
    write(tmp_path, (parts.train, parts.validation, parts.test), workers=1)
    return tmp_path


def test_what_is_written_is_read_again(archive):
    parts = splits(3, 2, 2, seed=0, size=64, **MINI)
    again = read_archive(archive)
    for name in ("train", "validation", "test"):
        made, found = getattr(parts, name), getattr(again, name)
        assert torch.equal(made.labels, found.labels)
        for one, other, pixels in zip(made, found, made.images, strict=True):
            assert torch.equal(other.image.decode(), pixels)
            assert torch.equal(one.boxes, other.boxes)
            assert one.file == other.file
    assert not list(archive.rglob("*.part"))


def test_writing_again_keeps_what_is_there_and_fills_the_gaps(archive):
    kept, lost = archive / "train" / "00000.png", archive / "train" / "00001.json"
    before, content = kept.stat().st_mtime_ns, lost.read_text()
    lost.unlink()
    write(archive, [mini()], workers=1)
    assert kept.stat().st_mtime_ns == before
    assert lost.read_text() == content


def test_writing_other_pictures_to_the_same_place_is_refused(archive):
    with pytest.raises(UserError, match="another picture"):
        write(archive, [mini(seed=5)], workers=1)


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        write(tmp_path, [mini(1)], workers=1)
    assert not list((tmp_path / "train").iterdir())


def test_an_archive_without_boxes_is_read_without_boxes(archive):
    for file in archive.rglob("*.json"):
        balls = json.loads(file.read_text())
        file.write_text(json.dumps([{k: b[k] for k in b if k != "box"} for b in balls]))
    assert read_archive(archive).train[0].boxes is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "00000.json: no list of balls"),
        ("[]", "names no ball"),
        ("3", "no list of balls"),
        ('[{"number": 3, "color": "red"}]', "no 'position'"),
        ('[{"position": [0, 0], "number": 3, "color": "red"}]', "no list of balls"),
        ('[{"position": [0, 0, 0], "number": 12, "color": "red"}]', "12 is not in 1..9"),
    ],
)
def test_a_bad_list_of_balls_is_named(archive, content, message):
    (archive / "train" / "00000.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_archive(archive)


def test_missing_parts_are_named(archive):
    (archive / "train" / "00000.json").unlink()
    with pytest.raises(UserError, match=r"00000\.json is missing beside 00000\.png"):
        read_archive(archive)
    (archive / "train" / "00000.png").unlink()
    (archive / "train" / "00001.png").unlink()
    with pytest.raises(UserError, match=r"00001\.png is missing"):
        read_archive(archive)
    with pytest.raises(UserError, match="missing"):
        BilliardsArchive(archive / "training")
