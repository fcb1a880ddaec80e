"""Laws of the diagnostics: it warns of what failed, once, and of nothing else."""

import pytest
import torch
from torch import Tensor

from foveal._seeding import derived_generator
from foveal.prediction import Prediction
from foveal.topk import hard
from foveal.training.diagnostics import Diagnostics, border_fraction
from foveal.windows import centred, regular

SIZE = (64, 64)
HEALTHY = 32  # images


def prediction(scores: Tensor, logits: Tensor, windows: Tensor | None = None, k: int = 4):
    windows = regular(SIZE, (8, 8), (8, 8)) if windows is None else windows
    patches = torch.zeros(len(scores), k, 1, 2, 2)
    return Prediction(logits, scores, windows, hard(scores, k), patches)


def healthy(seed: int = 0) -> dict[str, Tensor]:
    random = derived_generator(seed)
    return {
        "scores": torch.randn(HEALTHY, 64, generator=random),
        "logits": torch.randn(HEALTHY, 3, generator=random),
    }


def rounds(
    *said: dict,
    n: int = 1,
    steps: tuple[dict, ...] = (),
    majority: float = 0.0,
    multilabel: bool = False,
):
    """Warnings of each of several rounds, each of which sees the same."""
    diagnostics = Diagnostics(multilabel=multilabel)
    heard = []
    for _ in range(n):
        for step in steps:
            diagnostics.add_step(**step)
        for what in said:
            diagnostics.add_prediction(prediction(**what), [SIZE] * len(what["scores"]))
        heard.append(diagnostics.warnings(majority=majority))
    return heard


def test_a_healthy_run_is_not_warned_about():
    steps = ({"finite": True, "scorer_gradient": 0.1}, {"finite": True, "scorer_gradient": 0.0})
    assert rounds(healthy(), n=3, steps=steps) == [[], [], []]


def only(heard: list[list[str]], words: str) -> None:
    """Nothing in the first round, one warning in the second, and never again."""
    assert [len(h) for h in heard] == [0, 1, 0, 0]
    assert words in heard[1][0]


def test_one_class_for_all_images():
    what = healthy()
    what["logits"][:, 1] += 100
    only(rounds(what, n=4), "predicts the same class for 100% of 32 validation images")


def test_one_set_for_all_images():
    what = healthy()
    assert rounds(what, n=3, multilabel=True) == [[], [], []]
    what["logits"][:, 1] += 100
    assert rounds(what, n=3, multilabel=True) == [[], [], []]  # the other classes come and go
    what["logits"][:, 0] += 100
    what["logits"][:, 2] -= 100
    only(
        rounds(what, n=4, multilabel=True),
        "predicts the same set of classes for 100% of 32 validation images",
    )


def test_one_class_is_fine_where_there_is_but_one():
    what = healthy()
    what["logits"][:, 1] += 100
    assert rounds(what, n=3, majority=0.97) == [[], [], []]


def test_a_single_bad_round_may_be_a_slow_start():
    diagnostics = Diagnostics()
    bad = healthy()
    bad["logits"][:, 1] += 100
    for what in (bad, healthy(), bad):
        diagnostics.add_prediction(prediction(**what), [SIZE] * HEALTHY)
        assert diagnostics.warnings() == []


def test_few_images_prove_nothing():
    what = {"scores": torch.zeros(4, 64), "logits": torch.zeros(4, 3)}
    assert rounds(what, n=3) == [[], [], []]


def test_a_loss_that_is_not_finite_is_said_at_once_and_only_once():
    heard = rounds(healthy(), n=3, steps=({"finite": False, "scorer_gradient": None},))
    assert [len(h) for h in heard] == [1, 0, 0]
    assert "not finite" in heard[0][0]


def test_a_scorer_without_gradient():
    steps = ({"finite": True, "scorer_gradient": 0.0},) * 2
    only(rounds(healthy(), n=4, steps=steps), "the scorer has received no gradient")


def test_a_model_without_a_scorer_has_none_to_freeze():
    assert rounds(healthy(), n=3, steps=({"finite": True, "scorer_gradient": None},)) == [[]] * 3


def test_constant_scores():
    what = healthy() | {"scores": torch.full((HEALTHY, 64), 3.0)}
    heard = rounds(what, n=4)
    assert any("the same score" in words for words in heard[1])
    assert heard[2:] == [[], []]


def test_collapsed_entropy():
    what = healthy()
    what["scores"] *= 100
    only(rounds(what, n=4), "effectively 1.1 windows per image compete for k=4 slots")


def test_always_the_same_place():
    what = healthy()
    what["scores"] = what["scores"] + torch.tensor([5.0] * 4 + [0.0] * 60)
    what["scores"][:, [0, 1, 2, 3]] = what["scores"][:, [0, 1, 2, 3]].clamp(min=5)
    only(rounds(what, n=4), "the same windows in 100% of 32 validation images")


def test_looking_at_the_border():
    windows = regular(SIZE, (8, 8), (12, 12))
    usual = border_fraction(windows, SIZE)
    assert 0.4 < usual < 0.5
    over = torch.tensor([border_fraction(w[None], SIZE) for w in windows])
    what = healthy() | {"windows": windows}
    assert rounds(what, n=2) == [[], []]
    what["scores"] = what["scores"] + 6 * over
    only(rounds(what, n=4), "100% of the selected windows extend beyond the border")


def test_looking_at_one_thing_again_and_again():
    centres = torch.cartesian_prod(torch.arange(28.0, 36), torch.arange(28.0, 36))
    what = healthy() | {"windows": centred(centres, (24, 24))}
    only(rounds(what, n=4), "mostly show the same place")


def test_a_model_that_cannot_choose_is_not_blamed_for_its_place():
    scores = torch.zeros(HEALTHY, 1)
    windows = torch.tensor([[0, 0, 64, 64]])
    what = {"scores": scores, "logits": healthy()["logits"], "windows": windows, "k": 1}
    assert rounds(what, n=3) == [[], [], []]


@pytest.mark.parametrize(
    ("scores", "share"), [(torch.zeros(2, 64), 1.0), (torch.eye(64)[:2] * 1e3, 0)]
)
def test_entropy_is_a_share_of_the_most_that_is_possible(scores: Tensor, share: float):
    diagnostics = Diagnostics()
    assert diagnostics.relative_entropy is None
    diagnostics.add_prediction(prediction(scores, torch.zeros(2, 3)), [SIZE] * 2)
    assert diagnostics.relative_entropy == pytest.approx(share, abs=1e-6)


def test_the_border_fraction_is_that_of_windows_that_hang_over():
    windows = torch.tensor([[0, 0, 4, 4], [-1, 0, 3, 4], [0, 5, 4, 9], [5, 0, 9, 4]])
    assert border_fraction(windows, (8, 8)) == 0.75
    assert border_fraction(windows, (9, 9)) == 0.25


def test_images_of_differing_sizes_have_their_own_border():
    windows = torch.stack([regular((64, 64), (8, 8), (8, 8)), regular((32, 64), (8, 8), (8, 8))])
    scores = torch.randn(2, 64, generator=derived_generator(0))
    diagnostics = Diagnostics()
    diagnostics.add_prediction(prediction(scores, torch.zeros(2, 3), windows), [(64, 64), (32, 64)])
    assert diagnostics.warnings() == []
