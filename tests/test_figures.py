"""Laws of the pictures: sizes, where scores are drawn, and what stays readable or is refused."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageColor
from torch import Tensor

from foveal import report as plots
from foveal.images import TensorImage
from foveal.paper.benchmark.plots import speeds
from foveal.prediction import Prediction
from foveal.report import drawing
from foveal.report.heat import overlay
from foveal.report.learning import windows_on
from foveal.runs import metrics
from foveal.topk import Selection
from foveal.training.state import State

CLASSES = ("red", "green", "blue")
RIGHT = ImageColor.getrgb(drawing.RIGHT)


def grid(size: tuple[int, int], cells: tuple[int, int], patch: int) -> Tensor:
    """Windows of patch x patch pixels about the centres of a regular grid."""
    centres = [(torch.arange(n) + 0.5) * s / n for n, s in zip(cells, size, strict=True)]
    corners = (torch.cartesian_prod(*centres) - patch / 2).round().long()
    return torch.cat([corners, corners + patch], dim=1)


def case(size: tuple[int, int], slots: int, channels: int = 3) -> tuple[TensorImage, Prediction]:
    """An image of noise, and a prediction for it with a hard selection."""
    generator = torch.Generator().manual_seed(slots)
    windows = grid(size, (4, 5), 12)
    scores = torch.randn(1, 20, generator=generator)
    chosen = scores.topk(slots).indices.sort().values
    prediction = Prediction(
        logits=torch.tensor([[0.0, 1.0, 2.0]]),
        scores=scores,
        windows=windows,
        selection=Selection(chosen, torch.eye(slots)[None]),
        patches=torch.rand(1, slots, channels, 12, 12, generator=generator),
    )
    return TensorImage(torch.rand(channels, *size, generator=generator)), prediction


@pytest.mark.parametrize("slots", [1, 3, 10])
@pytest.mark.parametrize("size", [(90, 150), (300, 40), (30, 500), (1, 1), (1500, 1700)])
def test_every_shape_and_every_k_gives_a_picture_of_sane_size(
    size: tuple[int, int], slots: int
) -> None:
    image, prediction = case(size, slots)
    picture = plots.explanation(image, prediction, classes=CLASSES, truth=1, file="a.png")
    assert picture.mode == "RGB"
    assert 760 <= picture.width <= 2000
    assert 300 <= picture.height <= 2000


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_can_be_shown(channels: int) -> None:
    image, prediction = case((60, 80), 2, channels)
    plots.explanation(image, prediction, classes=CLASSES)


def test_the_prediction_is_left_as_it_was() -> None:
    image, prediction = case((60, 80), 2)
    before = prediction.scores.clone(), prediction.patches.clone()
    plots.explanation(image, prediction, classes=CLASSES)
    assert torch.equal(prediction.scores, before[0])
    assert torch.equal(prediction.patches, before[1])


def test_a_truth_is_understood_by_number_and_by_name() -> None:
    image, prediction = case((60, 80), 2)
    number, name = (
        plots.explanation(image, prediction, classes=CLASSES, truth=t) for t in (1, "green")
    )
    assert number.tobytes() == name.tobytes()


def test_a_set_is_right_only_if_it_is_the_whole_set() -> None:
    image, prediction = case((60, 80), 2)  # logits 0, 1 and 2: green and blue
    truths = [(), ("green",), ("red", "green", "blue"), ("green", "blue")]
    pictures = [
        plots.explanation(image, prediction, classes=CLASSES, truth=truth, multilabel=True)
        for truth in truths
    ]
    right = [bool((np.array(each) == RIGHT).all(axis=2).any()) for each in pictures]
    assert right == [False, False, False, True]


def test_evidence_changes_the_picture() -> None:
    image, prediction = case((60, 80), 2)
    boxes = torch.tensor([[5, 5, 20, 30]])
    without, with_boxes = (
        plots.explanation(image, prediction, classes=CLASSES, boxes=b) for b in (None, boxes)
    )
    assert without.tobytes() != with_boxes.tobytes()


@pytest.mark.parametrize("text", ["x" * 5000, "line\nbreak\x00\x1b[31m", "caf\udce9.jpg", "森.png"])
def test_names_of_any_length_and_any_letters_fit(text: str) -> None:
    image, prediction = case((60, 80), 2)
    usual = plots.explanation(image, prediction, classes=CLASSES, truth="a", file="a")
    odd = plots.explanation(image, prediction, classes=(text,) * 3, truth=text, file=text)
    assert odd.size == usual.size


def test_windows_without_a_finite_score_or_outside_the_image_are_borne() -> None:
    image, prediction = case((60, 80), 2)
    prediction.scores[0, :3] = -math.inf
    prediction.windows[5:8] += 500
    plots.explanation(image, prediction, classes=CLASSES)


def test_equal_scores_are_borne() -> None:
    image, prediction = case((60, 80), 2)
    prediction.scores.fill_(7)
    plots.explanation(image, prediction, classes=CLASSES)


@pytest.mark.usefixtures("unchecked")
def test_a_batch_is_refused() -> None:
    image, prediction = case((60, 80), 2)
    batch = Prediction(
        prediction.logits.expand(2, -1),
        prediction.scores,
        prediction.windows,
        prediction.selection,
        prediction.patches,
    )
    with pytest.raises(ValueError, match="prediction of 2"):
        plots.explanation(image, batch, classes=CLASSES)


def test_class_names_must_match_the_logits() -> None:
    image, prediction = case((60, 80), 2)
    with pytest.raises(ValueError, match="got 2 for 3 logits"):
        plots.explanation(image, prediction, classes=CLASSES[:2])


@settings(deadline=None)  # the first case imports
@given(st.integers(0, 11), st.integers(2, 6))
def test_the_map_is_highest_where_the_best_window_has_its_centre(best: int, patch: int) -> None:
    windows = grid((60, 80), (3, 4), 2 * patch)
    scores = torch.zeros(12, dtype=torch.float64)
    scores[best] = 1
    heat = plots.score_map(scores, windows, (60, 80), (60, 80))
    y, x = ((windows[best, :2] + windows[best, 2:]) // 2).tolist()
    # The middle of a pixel lies up to a pixel beside the centre of the window.
    assert heat[y, x] >= heat.max() - 0.05
    assert heat[y, x] > 0.8


@given(st.integers(1, 40), st.integers(0, 1000))
def test_the_map_stays_between_the_scores_on_and_off_a_grid(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-10, 90, (n, 2), generator=generator)
    scores = torch.rand(n, generator=generator, dtype=torch.float64)
    heat = plots.score_map(scores, torch.cat([corners, corners + 9], 1), (90, 90), (45, 30))
    assert heat.shape == (45, 30)
    assert heat.min() >= scores.min() - 1e-9
    assert heat.max() <= scores.max() + 1e-9


def test_the_map_is_known_in_the_regions_alone_that_were_scored() -> None:
    first, second = (grid((60, 80), (6, 8), 10) + shift for shift in (0, torch.tensor(120)))
    windows, scores = torch.cat((first, second)), torch.cat((torch.zeros(48), torch.ones(48)))
    heat = plots.score_map(scores, windows, (200, 240), (100, 120))
    known = heat.isfinite()
    assert known[2:28, 2:38].all()
    assert known[62:88, 62:98].all()
    assert not known[:50, 50:].any()
    assert not known[32:58].any()
    assert heat[2:28, 2:38].max() < 1e-6
    assert heat[62:88, 62:98].min() > 1 - 1e-6
    picture = Pillow.new("RGB", (120, 100), (10, 200, 30))
    drawn = torch.from_numpy(np.array(overlay(picture, heat)))
    plain = (drawn == torch.tensor([10, 200, 30])).all(dim=2)
    assert torch.equal(plain, ~known)


def test_a_constant_score_gives_a_constant_map() -> None:
    heat = plots.score_map(torch.full((12,), 0.3), grid((60, 80), (3, 4), 8), (60, 80), (600, 800))
    torch.testing.assert_close(heat, torch.full_like(heat, 0.3), atol=1e-6, rtol=0)


def test_curves_have_a_panel_for_each_kind_of_column_that_is_there() -> None:
    rows = [
        {"step": "0", "loss": "2.5", "validation_accuracy": "", "hit_rate": "0.2"},
        {"step": "50", "loss": "1.5", "validation_accuracy": "0.5", "learning_rate": "0.1"},
    ]
    axes = plots.plot_training(rows).axes
    assert [each.get_ylabel() for each in axes] == ["loss", "share of images"]
    assert len(axes[1].lines) == 2


def test_curves_are_drawn_over_the_step_that_training_wrote(tmp_path: Path) -> None:
    state = State()
    for state.step in (200, 250, 400):
        state.loss = state.counted = state.correct = 2.0
        metrics.append(tmp_path / "metrics.csv", state.row(0.1, 0.05))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        figure = plots.plot_training(list(csv.DictReader(file)))
    drawn = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata())]
    assert drawn
    assert all(list(line.get_xdata()) == [200, 250, 400] for line in drawn)
    assert {axes.get_xlabel() for axes in figure.axes} == {"training step"}


def test_two_phases_are_drawn_one_after_the_other_over_their_minutes() -> None:
    reading = [{"step": n, "seconds": 60.0 * n, "loss": 2.0 / n} for n in (1, 2, 3)]
    looking = [{"step": n, "seconds": 120.0 * n, "loss": 0.5, "sigma": 0.1} for n in (0, 1)]
    loss, sigma = plots.plot_training(looking, reading).axes
    first, second, *_ = (list(line.get_xdata()) for line in loss.lines)
    assert (first, second) == ([1, 2, 3], [3, 5])
    assert loss.get_xlim() == sigma.get_xlim()
    assert {axes.get_xlabel() for axes in (loss, sigma)} == {"minutes"}
    assert [text.get_text().strip() for text in loss.texts] == ["read", "look"]


@pytest.mark.parametrize("size", [(90, 150), (1500, 2000), (30, 500)])
def test_windows_are_drawn_where_they_lie_whatever_the_size(size: tuple[int, int]) -> None:
    image = TensorImage(torch.zeros(3, *size))
    side = min(size) // 3
    window = torch.tensor([[size[0] // 2, size[1] // 2, size[0] // 2 + side, size[1] // 2 + side]])
    drawn = np.asarray(windows_on(image, window)).astype(int).sum(axis=2)
    assert 320 < max(drawn.shape) <= 640
    rows, columns = np.nonzero(drawn[5:-5, 5:-5] == 3 * 255)
    scale = max(drawn.shape) / max(size)
    for found, corner in ((rows, window[0, 0]), (columns, window[0, 1])):
        assert found.min() + 5 == pytest.approx(float(corner) * scale, abs=3)
        assert found.max() + 5 == pytest.approx(float(corner + side) * scale, abs=4)


def test_votes_stand_beside_the_patches_in_place_of_scores() -> None:
    image, prediction = case((90, 150), 3)
    plain, voted, others = (
        np.asarray(plots.explanation(image, prediction, classes=CLASSES, votes=votes))
        for votes in (None, [("red", 0.5)] * 3, [("red", 0.5)] * 2 + [("blue", 0.9)])
    )
    assert plain.shape == voted.shape == others.shape
    assert (plain != voted).any()
    assert (others != voted).any()


@pytest.mark.parametrize("rows", [[], [{"step": 1, "seconds": 2.0}], [{"loss": 1.0}]])
def test_rows_without_anything_to_draw_are_refused(rows: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="got the columns"):
        plots.plot_training(rows)


def test_every_speed_is_drawn_and_named_at_its_end_without_names_that_touch() -> None:
    curves = {"near": [(100.0, 4.0), (200.0, 1.0)], "by": [(100.0, 5.0), (200.0, 1.01)]}
    (axes,) = speeds(curves | {"far": [(100.0, 90.0), (200.0, 80.0)]}).axes
    assert axes.lines[0].get_xydata().tolist() == [[100, 4], [200, 1]]
    heights = {name.get_text(): name.xy[1] for name in axes.texts}
    assert set(heights) == {"near", "by", "far"}
    assert heights["by"] >= heights["near"] + 0.05
    assert heights["far"] >= heights["by"] + 0.5
    colours = {name.get_text(): name.get_color() for name in axes.texts}
    assert [colours[name] for name in ("near", "by", "far")] == [
        line.get_color() for line in axes.lines
    ]
