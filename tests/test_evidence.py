"""Laws of whether the looks matter: each figure is that of the model with one part changed."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import foveal
import miniatures
from foveal.cli.main import main
from foveal.data import Example
from foveal.errors import UserError
from foveal.evaluation import Report, evaluate
from foveal.evaluation.evidence import evaluate_looks
from foveal.images import TensorImage
from foveal.models import PatchClassifier, WholeImage, patch_classifier
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import ThinResNet
from foveal.nn.protocols import Scorer
from foveal.nn.scorers import BackboneScorer
from foveal.nn.selectors import Hard, Sinkhorn, TopK
from foveal.runs.untrained import untrained_scorers

COLOURS = ("red", "green", "blue")


class Brightness(nn.Module):
    """Scores a square cell by its brightness, or by its darkness."""

    def __init__(self, sign: float = 1.0, stride: int = 4) -> None:
        super().__init__()
        self.sign, self.stride, self.offset = sign, stride, stride / 2

    def forward(self, view: Tensor) -> Tensor:
        grey = view.mean(dim=1, keepdim=True)
        return self.sign * nn.functional.avg_pool2d(grey, self.stride)[:, 0]


class Colour(nn.Module):
    """Encodes a patch by its mean colour."""

    features = 3

    def forward(self, patches: Tensor) -> Tensor:
        return patches.mean(dim=(2, 3))


@dataclass(frozen=True)
class Spots:
    """Dark images with one bright cell each, in a box, whose colour is the class."""

    count: int = 9
    boxed: bool = True
    classes: tuple[str, ...] = COLOURS

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.count) % 3

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        pixels = torch.full((3, 16, 16), 10, dtype=torch.uint8)
        top, left = 4 * (index % 4), 4 * (index // 4 % 4)
        pixels[index % 3, top : top + 4, left : left + 4] = 240
        box = torch.tensor([[top, left, top + 4, left + 4]]) if self.boxed else None
        return Example(TensorImage(pixels), index % 3, f"{index}.png", box)


def seeing(select: nn.Module | None = None) -> PatchClassifier:
    """A model that looks at the bright cell and says its colour."""
    vote = Vote(3, classes=3)
    with torch.no_grad():
        vote.layers[1].weight.copy_(20 * torch.eye(3))
        vote.layers[1].bias.zero_()
    return PatchClassifier(
        scorer=Brightness(),
        select=select or TopK(1, sigma=0.3),
        encoder=Colour(),
        aggregate=vote,
        classes=3,
        view=(16, 16),
        patch=(4, 4),
    )


def looks_of(model: nn.Module, data: Spots = Spots(), untrained: tuple[Scorer, ...] = ()) -> Report:
    return evaluate_looks(model, data, 4, classes=COLOURS, untrained=untrained)


def test_a_model_that_answers_by_its_looks_alone_is_constant_when_they_are_blanked():
    report = looks_of(seeing())
    assert report.looks is not None
    assert (report.accuracy, report.hit_rate) == (1, 1)
    assert report.looks.variants["blanked"] == pytest.approx((1 / 3, 1 / 3))
    assert "alone" not in report.looks.variants  # there is no vote of the view


def with_view(weight: float) -> PatchClassifier:
    """A random model with a vote of the view of a certain weight."""
    torch.manual_seed(0)
    model = patch_classifier(
        "test_resnet",
        classes=3,
        view=(64, 64),
        patch=32,
        k=2,
        scorer="test_resnet",
        aggregator="vote",
        global_head=True,
    )
    assert model.global_head is not None
    nn.init.normal_(model.global_head.linear.weight, std=1.0)
    with torch.no_grad():
        model.global_head.linear.weight.mul_(weight)
    return model


def test_the_looks_alone_are_what_the_model_says_without_the_vote_of_the_view():
    model = with_view(1e4)
    looks = looks_of(model).looks
    assert looks is not None
    without = evaluate(with_view(0), Spots(), 4)
    assert looks.variants["alone"] == (without.accuracy, without.balanced_accuracy)
    # such a vote is all that there is to the answer
    whole = evaluate(model, Spots(), 4)
    assert looks.variants["blanked"] == (whole.accuracy, whole.balanced_accuracy)
    silent = looks_of(with_view(0)).looks
    assert silent is not None
    assert "alone" not in silent.variants


@pytest.mark.parametrize("kind", [TopK, Sinkhorn])
def test_the_other_kind_of_selection_is_that_of_a_model_built_with_it(kind: type):
    options = {"sigma": 0.6} if kind is TopK else {"epsilon": 0.2}
    soft, hard = (kind(2, **options, soft_evaluation=s) for s in (True, False))
    reports = {s: evaluate(seeing(s), Spots(), 4) for s in (soft, hard)}
    for select, other, name in ((soft, hard, "hard"), (hard, soft, "soft")):
        looks = looks_of(seeing(select)).looks
        assert looks is not None
        expected = (reports[other].accuracy, reports[other].balanced_accuracy)
        assert looks.variants[name] == expected
        assert len(looks.variants) == 2
    only = looks_of(seeing(Hard(1))).looks
    assert only is not None
    assert set(only.variants) == {"blanked"}


def test_the_floor_of_a_hit_rate_is_the_mean_of_the_untrained_scorers():
    scorers = (Brightness(), Brightness(-1.0), Brightness(-1.0))
    looks = looks_of(seeing(), untrained=scorers).looks
    assert looks is not None
    assert looks.untrained_hit_rate == pytest.approx(1 / 3)
    unboxed = looks_of(seeing(), Spots(boxed=False), scorers).looks
    assert unboxed is not None
    assert unboxed.untrained_hit_rate is None


class Failing(Brightness):
    def forward(self, view: Tensor) -> Tensor:
        raise RuntimeError("no scores")


def test_a_model_comes_out_as_it_went_in_even_after_an_error():
    model = with_view(1.0)
    parts, weights = dict(model.named_modules()), list(model.state_dict())
    before = evaluate(model, Spots(), 4)
    assert looks_of(model, untrained=(Brightness(stride=8),)).results == before.results
    with pytest.raises(RuntimeError, match="no scores"):
        looks_of(model, untrained=(Failing(),))
    assert dict(model.named_modules()) == parts
    assert list(model.state_dict()) == weights
    assert evaluate(model, Spots(), 4).results == before.results


def test_a_model_without_looks_is_refused_in_words():
    with pytest.raises(UserError, match="this is a WholeImage"):
        looks_of(WholeImage(encoder=ThinResNet(), classes=3))


@pytest.mark.parametrize("frozen", [True, False])
def test_untrained_scorers_differ_in_what_training_changes_and_in_nothing_else(frozen: bool):
    model = patch_classifier(
        "test_resnet",
        classes=3,
        view=(64, 64),
        patch=32,
        k=2,
        scorer="test_resnet",
        freeze_scorer=frozen,
    )
    state = torch.get_rng_state()
    scorers = untrained_scorers(model)
    assert torch.equal(torch.get_rng_state(), state)
    trained = model.scorer
    assert isinstance(trained, BackboneScorer)
    for scorer in scorers:
        assert isinstance(scorer, BackboneScorer)
        same = [
            torch.equal(a, b)
            for a, b in zip(scorer.network.parameters(), trained.network.parameters(), strict=True)
        ]
        assert all(same) == frozen
    heads = [scorer.score.weight for scorer in (trained, *scorers)]  # type: ignore[union-attr]
    assert len({tuple(head.flatten().tolist()) for head in heads}) == len(heads)
    again = untrained_scorers(model)
    for one, other in zip(scorers, again, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):  # type: ignore[attr-defined]
            assert torch.equal(a, b)


def test_the_command_and_the_page_tell_whether_the_looks_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos = miniatures.class_folders(tmp_path / "photos", {"a": 6, "b": 6}, (48, 64))
    boxes = [(f"{c}/{n}.png", 0, 0, 32, 24) for c in "ab" for n in range(6)]
    miniatures.boxes_csv(photos, boxes)
    run = tmp_path / "run"
    options = ["--encoder", "thin", "--view", "48", "48", "--patch", "16", "--k", "2"]
    options += ["--batch", "4", "--steps", "2", "--accelerator", "cpu", "--no-pretrained"]
    assert main(["train", str(photos), "--output", str(run), *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(photos), "--looks", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["looks"]) == {"blanked", "soft", "untrained_hit_rate"}
    assert found["looks"]["blanked"]["balanced_accuracy"] == 0.5  # no view, no places: constant
    assert 0 <= found["looks"]["untrained_hit_rate"] <= 1
    assert "looks" not in foveal.load(run).evaluate(photos).summary()
    assert main(["evaluate", str(run), "--data", str(photos), "--looks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("do the looks matter?") + 1 :]
    assert [line.split()[0] for line in table] == ["accuracy", "as", "blanked", "soft", "hit"]
    page = tmp_path / "page"
    assert main(["explain", str(run), str(photos), "--looks", "--output", str(page)]) == 0
    text = (page / "index.html").read_text("utf-8")
    assert "Do the looks matter?" in text
    assert "every patch in one colour" in text
    files = [str(path) for path in photos.rglob("*.png")]
    assert main(["explain", str(run), *files, "--looks", "--output", str(page)]) == 2
    assert "--looks takes true labels" in capsys.readouterr().err
