"""Laws of evaluation: every image counts, once, whoever stands beside it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.data import Example
from foveal.errors import ImageRefused, NotFiniteError, UserError
from foveal.evaluation import (
    Result,
    box_hits,
    chosen_windows,
    evaluate,
    evaluation_mode,
    predict,
)
from foveal.evaluation.figures import further_figures, wilson
from foveal.images import FileImage, Image, TensorImage
from foveal.models import IterativePatchSelection, PatchClassifier, WholeImage
from foveal.nn import aggregators
from foveal.nn.aggregators import FourierPosition
from foveal.nn.cross_attention import CrossAttention
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import ConvScorer
from foveal.nn.selectors import TopK
from foveal.prediction import Prediction
from foveal.topk import hard
from foveal.windows import can_cover, cover_chance, covers, regular

COLOURS = ("red", "green", "blue")


class Brightest(nn.Module):
    """Looks at the K brightest 4x4 cells, and says which colour is the strongest there."""

    def __init__(self, k: int = 1, classes: int = 3) -> None:
        super().__init__()
        self.k, self.classes, self.drop = k, classes, nn.Dropout(0.5)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
        parts = [self.one(image / 255) for image in images]
        alike = all(torch.equal(p[1], parts[0][1]) for p in parts)
        scores, windows, patches = zip(*parts, strict=True)
        stacked = torch.stack(patches)
        logits = self.drop(10 * stacked.mean(dim=(1, 3, 4)))[:, : self.classes]
        selection = hard(torch.stack(scores), self.k)
        where = windows[0] if alike else torch.stack(windows)
        return Prediction(logits, torch.stack(scores), where, selection, stacked)

    def one(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if image.shape[1] < 8:
            raise ImageRefused(f"an image of {tuple(image.shape[1:])} px\nis too small")
        side = (image.shape[1] // 4, image.shape[2] // 4)
        windows = regular(tuple(image.shape[1:]), (4, 4), side)
        crops = torch.stack([image[:, a:c, b:d] for a, b, c, d in windows.tolist()])
        scores = crops.sum(dim=(1, 2, 3)) / (side[0] * side[1])
        best = hard(scores[None], self.k).candidates[0]
        return scores, windows, crops[best][:, :, :2, :2]


@dataclass(frozen=True)
class Listed:
    """A data set of the examples it is given."""

    examples: tuple[Example, ...]
    classes: tuple[str, ...] = COLOURS

    @property
    def labels(self) -> Tensor:
        return torch.tensor([e.label for e in self.examples])

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def picture(colour: int, cell: tuple[int, int], size: tuple[int, int] = (16, 16)) -> Tensor:
    image = torch.zeros(3, *size, dtype=torch.uint8)
    h, w = size[0] // 4, size[1] // 4
    y, x = cell[0] * h, cell[1] * w
    image[colour, y : y + h, x : x + w] = 200
    return image


def box(cell: tuple[int, int]) -> Tensor:
    y, x = 4 * cell[0], 4 * cell[1]
    return torch.tensor([[y, x, y + 4, x + 4]])


def example(i: int, colour: int, truth: int, size: tuple[int, int] = (16, 16)) -> Example:
    cell = (i % 4, i // 4 % 4)
    return Example(TensorImage(picture(colour, cell, size)), truth, f"{i}.png", None)


def listed(said: Sequence[int], truth: Sequence[int]) -> Listed:
    return Listed(tuple(example(i, s, t) for i, (s, t) in enumerate(zip(said, truth, strict=True))))


labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(pairs=labels, batch=st.integers(1, 9))
def test_the_numbers_are_those_of_a_count_by_hand(pairs: list[tuple[int, int]], batch: int):
    said, truth = zip(*pairs, strict=True)
    report = evaluate(Brightest(), listed(said, truth), batch)
    right = {c: [s == t for s, t in pairs if t == c] for c in set(truth)}
    recalls = {COLOURS[c]: sum(r) / len(r) for c, r in sorted(right.items())}
    assert report.n == len(pairs) == len(report.results)
    assert report.accuracy == pytest.approx(sum(s == t for s, t in pairs) / len(pairs))
    assert report.per_class == pytest.approx(recalls)
    assert report.balanced_accuracy == pytest.approx(sum(recalls.values()) / len(recalls))
    assert report.majority == pytest.approx(max(truth.count(c) for c in truth) / len(truth))
    for t in range(3):
        assert report.confusion[t] == [pairs.count((s, t)) for s in range(3)]


def test_the_report_does_not_depend_on_the_batch():
    dataset = listed([0, 1, 2, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0, 2])
    first = evaluate(Brightest(), dataset, 1)
    for batch in (2, 3, 7, 32):
        other = evaluate(Brightest(), dataset, batch)
        assert other.results == first.results
        assert other.summary() == first.summary()


def test_the_order_of_the_data_changes_nothing_but_the_order():
    dataset = listed([0, 1, 2, 1, 0], [0, 1, 2, 2, 1])
    backwards = replace(dataset, examples=dataset.examples[::-1])
    first, last = evaluate(Brightest(), dataset, 2), evaluate(Brightest(), backwards, 2)
    assert first.results == last.results[::-1]


def test_images_of_differing_sizes_are_judged_as_if_alone():
    sizes = [(16, 16), (16, 24), (16, 16), (32, 16)]
    examples = tuple(example(i, i % 3, 0, size) for i, size in enumerate(sizes))
    together = evaluate(Brightest(), Listed(examples), 4).results
    alone = [evaluate(Brightest(), Listed((e,)), 1).results[0] for e in examples]
    assert together == alone
    assert together[3].windows == [(24, 0, 32, 4)]


def test_evaluation_changes_neither_modes_nor_gradients():
    model = nn.Sequential(Brightest())
    model.train()
    model[0].drop.eval()  # frozen by its owner
    evaluate(model, listed([0, 1], [0, 1]))
    assert model.training
    assert model[0].training
    assert not model[0].drop.training


def test_modes_come_back_after_an_error():
    model = Brightest().train()

    def fail() -> None:
        with evaluation_mode(model):
            assert not model.training
            assert not torch.is_grad_enabled()
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fail()
    assert model.training
    assert torch.is_grad_enabled()


def test_two_evaluations_are_identical():
    dataset = listed([0, 1, 2, 1], [0, 1, 2, 2])
    assert evaluate(Brightest(), dataset) == evaluate(Brightest(), dataset)


def test_probabilities_sum_to_one_and_the_label_is_the_most_probable():
    for result in evaluate(Brightest(), listed([0, 1, 2], [0, 0, 0])).results:
        assert sum(result.probabilities.values()) == pytest.approx(1)
        assert result.probability == max(result.probabilities.values())
        assert result.probabilities[result.label] == result.probability
        assert result.truth == "red"


def area_under_curve(with_class: Sequence[float], without: Sequence[float]) -> float:
    """The share of the pairs in the right order, ties count half."""
    pairs = [(a > b) + (a == b) / 2 for a in with_class for b in without]
    return sum(pairs) / len(pairs)


@settings(max_examples=25, deadline=None)
@given(pairs=labels)
def test_the_area_under_the_curve_is_that_of_all_pairs(pairs: list[tuple[int, int]]):
    said, truth = zip(*pairs, strict=True)
    report = evaluate(Brightest(), listed(said, truth))
    areas = []
    for name in COLOURS:
        shares = [(r.probabilities[name], r.truth == name) for r in report.results]
        groups = [share for share, has in shares if has], [s for s, has in shares if not has]
        areas += [area_under_curve(*groups)] if all(groups) else []
    assert report.auroc == (pytest.approx(sum(areas) / len(areas)) if areas else None)


def test_the_loss_is_the_mean_cross_entropy():
    dataset = listed([0, 1, 2], [0, 0, 1])
    images = torch.stack([e.image.pixels for e in dataset.examples])  # type: ignore[attr-defined]
    logits = Brightest().eval()(images).logits
    loss = nn.functional.cross_entropy(logits, dataset.labels)
    assert evaluate(Brightest(), dataset).loss == pytest.approx(float(loss), rel=1e-5)


class Coloured(Brightest):
    """Says of each colour whether it is in the image; a faint one is doubtful."""

    def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
        prediction = super().forward(images)
        most = torch.stack([(image / 20).amax(dim=(1, 2)) for image in images])
        return replace(prediction, logits=most - 5)


def coloured(
    said: Sequence[set[int]], truth: Sequence[set[int]], classes: tuple[str, ...] = COLOURS
) -> Listed:
    def one(i: int, names: set[int], right: set[int]) -> Example:
        pixels = sum((picture(c, (i % 4, c)) for c in names), picture(0, (0, 0)) // 200)
        label = torch.tensor([c in right for c in range(3)])
        return Example(TensorImage(pixels), label, f"{i}.png", None)

    pairs = zip(said, truth, strict=True)
    return Sets(tuple(one(i, s, t) for i, (s, t) in enumerate(pairs)), classes)


class Sets(Listed):
    """A data set of images that bear sets of classes."""

    @property
    def labels(self) -> Tensor:
        return torch.stack([e.label for e in self.examples])  # type: ignore[misc]


sets = st.sets(st.integers(0, 2))


@settings(max_examples=25, deadline=None)
@given(pairs=st.lists(st.tuples(sets, sets), min_size=1, max_size=12), batch=st.integers(1, 9))
def test_the_numbers_of_sets_are_those_of_a_count_by_hand(pairs, batch):
    said, truth = zip(*pairs, strict=True)
    report = evaluate(Coloured(), coloured(said, truth), batch)
    recalls, two, one = {}, [], []
    for c, name in enumerate(COLOURS):
        found = [c in s for s, t in pairs if c in t]
        spared = [c not in s for s, t in pairs if c not in t]
        shares = [sum(each) / len(each) for each in (found, spared) if each]
        (two if len(shares) == 2 else one).append(sum(shares) / len(shares))
        recalls |= {name: sum(found) / len(found)} if found else {}
    assert report.n == len(pairs) == len(report.results)
    assert report.accuracy == pytest.approx(sum(s == t for s, t in pairs) / len(pairs))
    assert report.per_class == pytest.approx(recalls)
    areas = []
    for name in COLOURS:
        shares = [(r.probabilities[name], name in r.truth) for r in report.results]
        groups = [share for share, has in shares if has], [s for s, has in shares if not has]
        areas += [area_under_curve(*groups)] if all(groups) else []
    assert report.auroc == (pytest.approx(sum(areas) / len(areas)) if areas else None)
    balanced = two or one
    assert report.balanced_accuracy == pytest.approx(sum(balanced) / len(balanced))
    assert report.majority == pytest.approx(max(truth.count(t) for t in truth) / len(truth))
    assert report.confusion == []
    json.dumps(report.summary(), allow_nan=False)


@pytest.mark.parametrize("always", [set(), {0, 1}, {0, 1, 2}])
def test_whoever_always_says_the_same_set_has_a_balanced_accuracy_of_one_half(always):
    report = evaluate(Coloured(), coloured([always] * 3, [{0, 2}, {0}, {2}]))  # 1 never occurs
    assert (report.accuracy, report.balanced_accuracy) == (0, 0.5)


def test_the_loss_of_sets_is_the_mean_binary_cross_entropy():
    dataset = coloured([{0}, {0, 1}, set()], [{0}, {2}, {0, 1}])
    images = torch.stack([e.image.pixels for e in dataset.examples])  # type: ignore[attr-defined]
    logits = Coloured().eval()(images).logits
    loss = nn.functional.binary_cross_entropy_with_logits(logits, dataset.labels.float())
    assert evaluate(Coloured(), dataset).loss == pytest.approx(float(loss), rel=1e-5)


def test_a_certain_mistake_about_a_set_costs_no_more_than_can_be_known():
    class Certain(Coloured):
        def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
            prediction = super().forward(images)
            return replace(prediction, logits=1000 * prediction.logits)

    assert 36 < evaluate(Certain(), coloured([{0, 1, 2}], [set()])).loss < 37


def test_a_set_is_named_in_the_models_order_and_as_likely_as_all_its_answers():
    dataset = coloured([{0, 1}, set()], [{0, 1}, {1}], classes=("green", "red", "blue"))
    report = evaluate(Coloured(), dataset, classes=COLOURS)
    first, second = report.results
    assert first.label == first.truth == ("red", "green")
    assert (second.label, second.truth) == ((), ("red",))
    assert report.accuracy == 0.5
    shares = first.probabilities
    likely = shares["red"] * shares["green"] * (1 - shares["blue"])
    assert first.probability == pytest.approx(likely, rel=1e-12)


def test_predicted_sets_need_no_truth_and_bad_images_have_no_set():
    images = [TensorImage(picture(2, (1, 1))), TensorImage(picture(2, (0, 0), (4, 16)))]
    good, bad = predict(Coloured(), images, COLOURS, multilabel=True)
    assert (good.label, good.truth, good.error) == (("blue",), None, None)
    assert (bad.label, bad.probability) == ("", 0)
    assert bad.error


def boxed(*boxes: Tensor | None) -> Listed:
    examples = [Example(TensorImage(picture(0, (1, 2))), 0, "x", b) for b in boxes]
    return Listed(tuple(examples))


def test_a_hit_is_a_window_that_covers_half_of_a_box():
    cell = torch.tensor([[4, 8, 8, 12]])
    half, less = torch.tensor([[4, 10, 8, 14]]), torch.tensor([[4, 10, 8, 15]])
    report = evaluate(Brightest(), boxed(cell, half, less, None, torch.zeros(0, 4).long()))
    assert report.hit_rate == pytest.approx(2 / 3)
    assert report.n == 5


def test_one_box_of_two_is_a_hit_but_not_all():
    two = torch.tensor([[4, 8, 8, 12], [0, 0, 4, 4]])
    report = evaluate(Brightest(), boxed(two))
    assert (report.hit_rate, report.hit_all_rate) == (1, 0)


windows_or_boxes = st.lists(st.tuples(*[st.integers(0, 9)] * 4), max_size=4)


@given(windows=windows_or_boxes, boxes=windows_or_boxes)
def test_hits_are_those_of_a_count_by_hand(windows, boxes):
    def pixels(box):
        return {(y, x) for y in range(box[0], box[2]) for x in range(box[1], box[3])}

    by_hand = [
        any(2 * len(pixels(w) & pixels(b)) >= max(1, len(pixels(b))) for w in windows)
        for b in boxes
    ]
    drawn = torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4)
    expected = (any(by_hand), all(by_hand)) if windows and boxes else None
    as_tensor = torch.tensor(windows, dtype=torch.int64).reshape(-1, 4)
    for form in (windows, as_tensor):
        found = box_hits(form, drawn, (9, 9))
        assert (found and found[:2]) == expected


places = st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=25, deadline=None)
@given(
    boxes=st.lists(places.map(lambda p: (p[0], p[1], p[0] + p[2], p[1] + p[3])), min_size=1),
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8)), min_size=1, max_size=3),
)
def test_chance_is_that_of_windows_at_every_place(boxes, sizes):
    """The oracle counts the places of each window that cover half of a box."""
    missed = 1.0
    for h, w in sizes:
        everywhere = [
            [(top, left, top + h, left + w)] for top in range(7 - h) for left in range(9 - w)
        ]
        hits = [covers(torch.tensor(w), torch.tensor(boxes)).any() for w in everywhere]
        missed *= 1 - sum(map(int, hits)) / len(hits)
    windows = [(0, 0, h, w) for h, w in sizes]
    found = box_hits(windows, torch.tensor(boxes), (6, 8))
    assert found is not None
    assert found.chance == pytest.approx(1 - missed, abs=1e-6)


def test_the_chance_of_a_hit_in_a_large_image_is_counted_on_a_lattice():
    chance = cover_chance((64, 64), torch.tensor([[300, 900, 340, 940]]), (3000, 5000))
    # offset (a, b) from the best place: (40 - a)(40 - b) >= 800 where a, b > 0, and 24 px of play
    tops = torch.arange(2937)
    down = ((tops + 64).clamp(max=340) - tops.clamp(min=300)).clamp(min=0)
    lefts = torch.arange(4937)
    across = ((lefts + 64).clamp(max=940) - lefts.clamp(min=900)).clamp(min=0)
    exact = (torch.outer(down, across) >= 800).float().mean()
    assert chance == pytest.approx(float(exact), rel=0.1)


def test_the_report_has_the_mean_chance_of_the_images_with_boxes():
    cell = torch.tensor([[4, 8, 8, 12]])
    report = evaluate(Brightest(k=2), boxed(cell, None, torch.tensor([[0, 0, 16, 16]])))
    one = box_hits([(0, 0, 4, 4)] * 2, cell, (16, 16))
    assert one is not None
    assert report.chance_hit_rate == pytest.approx(one.chance / 2)  # no window covers the last box


def test_the_report_says_what_is_possible_with_windows_of_that_size():
    small, large = torch.tensor([[4, 8, 8, 12]]), torch.tensor([[0, 0, 16, 16]])
    report = evaluate(Brightest(k=2), boxed(small, None, large, torch.cat((small, large))))
    assert report.possible_hit_rate == pytest.approx(2 / 3)
    assert report.hit_rate <= report.possible_hit_rate
    assert not can_cover((64, 64), torch.tensor([[0, 0, 91, 91]]))
    assert can_cover((64, 64), torch.tensor([[0, 0, 90, 91], [0, 0, 900, 900]]))


@given(st.data())
def test_no_window_of_a_size_covers_what_is_said_to_be_impossible(data: st.DataObject):
    side = st.integers(1, 9)
    window = (data.draw(side), data.draw(side))
    box = torch.tensor([[3, 4, 3 + data.draw(side), 4 + data.draw(side)]])
    corners = torch.cartesian_prod(torch.arange(-9, 13), torch.arange(-9, 13))
    everywhere = torch.cat((corners, corners + torch.tensor(window)), dim=1)
    assert bool(covers(everywhere, box).any()) == can_cover(window, box)


def test_without_boxes_there_is_no_hit_rate():
    report = evaluate(Brightest(), boxed(None, None))
    assert report.hit_rate is None
    assert report.hit_all_rate is None
    assert report.chance_hit_rate is None


def test_windows_are_those_of_the_chosen_slots():
    prediction = Brightest(k=3).eval()(picture(1, (2, 3))[None] + 1)
    windows = chosen_windows(prediction)
    assert windows.shape == (1, 3, 4)
    assert [8, 12, 12, 16] in windows[0].tolist()
    dense = prediction.selection.dense(16)[0] @ prediction.windows.float()
    assert torch.equal(windows[0].float(), dense)


def test_the_summary_is_json():
    report = evaluate(Brightest(), listed([0, 1], [0, 0]))
    summary = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert summary["accuracy"] == 0.5
    assert summary["n"] == 2
    assert "results" not in summary
    assert list(summary["per_class"]) == ["red"]


def written(folder: Path, names: Sequence[str]) -> list[Image]:
    for i, name in enumerate(names):
        array = picture(i % 3, (1, 1)).permute(1, 2, 0).numpy()
        Pillow.fromarray(array).save(folder / name)
    return [FileImage(folder / name) for name in names]


def test_a_bad_file_is_a_result_with_an_error_and_the_rest_go_on(tmp_path: Path):
    images = written(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    (tmp_path / "b.png").write_bytes(b"nonsense")
    (tmp_path / "d.png").unlink()
    results = list(predict(Brightest(), images, COLOURS))
    assert [Path(r.file).name for r in results] == ["a.png", "b.png", "c.png", "d.png"]
    assert [r.error is None for r in results] == [True, False, True, False]
    assert [r.label for r in results] == ["red", "", "blue", ""]
    for result in (results[1], results[3]):
        assert result.error is not None
        assert Path(result.file).name in result.error
        assert "\n" not in result.error


def test_an_image_the_model_refuses_does_not_take_others_with_it():
    sizes = [(16, 16), (4, 16), (16, 16)]
    images = [TensorImage(picture(1, (0, 0), size)) for size in sizes]
    results = list(predict(Brightest(), images, COLOURS))
    assert [r.label for r in results] == ["green", "", "green"]
    assert results[1].error == "image 1: an image of (4, 16) px is too small"
    assert [r.file for r in results] == ["image 0", "image 1", "image 2"]


class Broken(Brightest):
    """A model with a fault of its own."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
        raise self.fault


@pytest.mark.parametrize("kind", [ValueError, TypeError, RuntimeError, KeyError, OSError])
def test_a_fault_of_the_model_is_raised_and_never_an_images_error(kind: type[Exception]):
    image = TensorImage(picture(1, (0, 0)))
    with pytest.raises(kind, match="bad weights"):
        list(predict(Broken(kind("bad weights")), [image], COLOURS))
    with pytest.raises(kind, match="bad weights"):
        evaluate(Broken(kind("bad weights")), listed([0, 1], [0, 1]))


class OnSinglePrecision(Tensor):
    """A tensor on a device without float64, as Apple's."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.double or any(
            each is torch.float64 for each in (*args, *kwargs.values())
        ):
            raise TypeError("this device has no float64")
        result = super().__torch_function__(func, types, args, kwargs)
        return result.as_subclass(Tensor) if func is Tensor.cpu else result


class SinglePrecision(Brightest):
    def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
        prediction = super().forward(images)
        return replace(prediction, logits=prediction.logits.as_subclass(OnSinglePrecision))


def test_a_device_without_float64_gives_the_same_results():
    dataset = listed([0, 1, 2], [0, 0, 1])
    assert evaluate(SinglePrecision(), dataset) == evaluate(Brightest(), dataset)


def test_an_image_of_an_unfit_size_or_of_other_channels_costs_its_own_result_alone():
    good, grey, long = torch.rand(3, 60, 60), torch.rand(1, 60, 60), torch.rand(3, 4, 400)
    tiny = torch.rand(3, 3, 3)
    encoder = ThinResNet()
    scored = PatchClassifier(
        scorer=ConvScorer(),
        select=TopK(9),
        encoder=encoder,
        aggregate=aggregators.max,
        classes=3,
        view=(44, 44),
        patch=(16, 16),
    )
    attention = CrossAttention(encoder.features, position=FourierPosition(encoder.features))
    gridded = IterativePatchSelection(
        encoder=encoder, aggregate=attention, classes=3, grid=(4, 4), patch=(8, 8), k=2
    )
    for model, bad in (
        (scored, [grey, long]),
        (gridded, [grey, tiny]),
        (WholeImage(encoder=encoder, classes=3), [grey]),
    ):
        images = [TensorImage(image) for image in (good, *bad, good)]
        results = list(predict(model, images, COLOURS))
        assert [r.error is None for r in results] == [True, *[False] * len(bad), True]


def test_images_of_differing_sizes_are_predicted_by_a_model_that_takes_one_size_per_batch():
    model = WholeImage(encoder=ThinResNet(), classes=3)
    images = [TensorImage(torch.rand(3, *size)) for size in ((48, 48), (64, 48))]
    together, alone = (list(predict(model, images, COLOURS, batch_size=b)) for b in (2, 1))
    assert together == alone
    assert [r.error for r in together] == [None, None]


class Diverging(Brightest):
    """Gives values that are not finite for images that begin with a pixel of a certain value."""

    def forward(self, images: Tensor | Sequence[Tensor]) -> Prediction:
        found = super().forward(images)
        for number, image in enumerate(images):
            value = {7: torch.nan, 8: torch.inf, 9: -torch.inf}.get(int(image[0, 0, 0]))
            if value is not None:
                found.logits[number, 1] = value
            if int(image[0, 0, 0]) == 6:
                found.scores[number, 0] = torch.nan
                hard(found.scores, self.k)
        return found


def marked(values: Sequence[int]) -> Listed:
    """Examples that begin with a pixel of a value."""
    pictures = [picture(0, (1, 1)) for _ in values]
    for pixels, value in zip(pictures, values, strict=True):
        pixels[:, 0, 0] = value
    return Listed(tuple(Example(TensorImage(p), 0, str(n), None) for n, p in enumerate(pictures)))


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.sampled_from([0, 6, 7, 8, 9]), min_size=1, max_size=7),
    batch_size=st.integers(1, 4),
)
def test_an_answer_that_is_not_finite_is_an_error_of_its_image_alone(
    values: list[int], batch_size: int
) -> None:
    dataset = marked(values)
    results = list(predict(Diverging(), dataset, COLOURS, batch_size))
    assert [r.error is not None for r in results] == [value > 0 for value in values]
    for result in results:
        if result.error is not None:
            assert (result.label, result.probabilities, result.windows) == ("", {}, [])
    if not any(values):
        return
    with pytest.raises(NotFiniteError):
        evaluate(Diverging(), dataset, batch_size, raise_not_finite=True)
    if all(values):
        with pytest.raises(UserError, match="none of the"):
            evaluate(Diverging(), dataset, batch_size)
    else:
        assert evaluate(Diverging(), dataset, batch_size).failed == sum(v > 0 for v in values)


def test_images_with_errors_count_in_nothing_else(tmp_path: Path):
    good = listed([0, 1], [0, 0])
    bad = Example(FileImage(tmp_path / "none.png"), 2, "none.png", box((0, 0)))
    report = evaluate(Brightest(), replace(good, examples=(bad, *good.examples)))
    alone = evaluate(Brightest(), good)
    assert report.failed == 1
    assert report.summary() | {"failed": 0} == alone.summary()
    assert report.results[1:] == alone.results


def test_where_no_image_can_be_judged_the_first_reason_is_given(tmp_path: Path):
    bad = Example(FileImage(tmp_path / "none.png"), 2, "none.png", None)
    with pytest.raises(UserError, match=r"none of the 1 images could be predicted.*none\.png"):
        evaluate(Brightest(), Listed((bad,)))


def test_classes_are_matched_by_name():
    dataset = replace(listed([0, 1], [0, 1]), classes=("green", "red"))
    report = evaluate(Brightest(), dataset, classes=COLOURS)
    assert report.accuracy == 0
    assert report.classes == COLOURS
    assert [r.truth for r in report.results] == ["green", "red"]


def test_a_class_the_model_does_not_know_is_a_users_mistake():
    dataset = replace(listed([0], [0]), classes=("red", "green", "mauve"))
    with pytest.raises(UserError, match="unknown to the model: mauve; it knows red, green, blue"):
        evaluate(Brightest(), dataset, classes=COLOURS)


def test_every_class_of_the_model_needs_a_name():
    with pytest.raises(ValueError, match="each of the model's 3 classes: got 2"):
        list(predict(Brightest(), [TensorImage(picture(0, (0, 0)))], ("a", "b")))


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="0 images"):
        evaluate(Brightest(), Listed(()))


def test_predictions_can_be_watched():
    seen: list[tuple[int, int]] = []

    def watch(prediction: Prediction, sizes: list[tuple[int, int]]) -> None:
        assert len(prediction.logits) == len(sizes)
        seen.extend(sizes)

    evaluate(Brightest(), listed([0] * 5, [0] * 5), 2, on_prediction=watch)
    assert seen == [(16, 16)] * 5


def test_predicting_stops_nowhere_and_says_no_truth():
    results = list(predict(Brightest(), [TensorImage(picture(2, (3, 3)))], COLOURS))
    assert isinstance(results[0], Result)
    assert results[0].label == "blue"
    assert results[0].truth is None
    assert results[0].windows == [(12, 12, 16, 16)]


def of_pairs(pairs: list[tuple[str, str]], probability: float = 0.9) -> dict[str, Any]:
    results = [
        Result(f"{i}", label, probability, {}, [], truth) for i, (truth, label) in enumerate(pairs)
    ]
    return further_figures(results, ("a", "b", "c"), multilabel=False)


def test_precision_and_f1_are_means_over_the_classes_that_occur_or_are_predicted():
    found = of_pairs([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")])
    assert found["precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert of_pairs([("a", "a"), ("a", "c")])["f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_model_that_is_as_often_right_as_it_says_is_calibrated():
    pairs = [("a", "a")] * 9 + [("a", "b")]
    assert of_pairs(pairs)["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert of_pairs(pairs, 0.6)["calibration_error"] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(("n", "chance"), [(20, 0.5), (20, 0.9), (50, 0.98), (200, 0.7)])
def test_an_interval_contains_the_probability_as_often_as_it_says(n: int, chance: float):
    """The oracle is the binomial distribution of how many of n images are right."""
    inside = 0.0
    for right in range(n + 1):
        low, high = wilson(right / n, n)
        assert 0 <= low < high <= 1
        assert low <= right / n <= high
        if low <= chance <= high:
            inside += math.comb(n, right) * chance**right * (1 - chance) ** (n - right)
    assert inside == pytest.approx(0.95, abs=0.03)  # the number of images is whole


def test_accuracy_and_hit_rates_have_the_interval_of_a_share():
    cell, other = torch.tensor([[4, 8, 8, 12]]), torch.tensor([[0, 0, 4, 4]])
    report = evaluate(Brightest(), boxed(cell, cell, other, torch.cat((cell, other)), None))
    assert report.boxed == 4
    intervals = report.summary()["intervals"]
    assert intervals["accuracy"] == wilson(1.0, 5)
    assert (intervals["hit_rate"], intervals["hit_all_rate"]) == (wilson(0.75, 4), wilson(0.5, 4))
    assert "hit_rate" not in evaluate(Brightest(), boxed(None)).summary()["intervals"]


def test_the_interval_of_balanced_accuracy_is_that_of_its_distribution():
    n, right = 400, 300
    pairs = [("a", "a")] * right + [("a", "b")] * (n - right)
    low, high = of_pairs(pairs)["intervals"]["balanced_accuracy"]
    deviation = math.sqrt(0.75 * 0.25 / n)
    # of 1000 samples; a quantile is known to a tenth of the deviation
    assert low == pytest.approx(0.75 - 1.96 * deviation, abs=0.2 * deviation)
    assert high == pytest.approx(0.75 + 1.96 * deviation, abs=0.2 * deviation)
    assert of_pairs([("a", "a"), ("b", "b")] * 10)["intervals"]["balanced_accuracy"] == []
