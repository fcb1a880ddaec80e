"""Tests of thresholds: the best on the validation images, kept in the run, reported and applied."""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foveal
import miniatures
from foveal.cli.main import main
from foveal.data.labels import decode
from foveal.errors import UserError
from foveal.evaluation import Result, Thresholds, choose_thresholds, summarise
from foveal.runs.folder import RunFolder
from foveal.runs.thresholds import keep_thresholds

OPTIONS = ["--encoder", "thin", "--view", "48", "48", "--patch", "16", "--k", "2", "--batch", "4"]
OPTIONS += ["--steps", "2", "--accelerator", "cpu", "--no-pretrained"]
TWO = ("bad", "ok")

# of few values, so that some are equal
shares = st.integers(0, 16).map(lambda n: n / 16)
images_of_two = st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=12)


def of_two(images: Sequence[tuple[float, bool]]) -> list[Result]:
    """Results with the probability of "ok", and whether that is the class."""
    results = []
    for number, (share, is_ok) in enumerate(images):
        both = {"bad": 1 - share, "ok": share}
        label = decode(both, multilabel=False)
        truth = TWO[is_ok]
        results.append(Result(f"{number}", label, both[str(label)], both, [], truth))
    return results


def balanced(predicted: Sequence[bool], truth: Sequence[bool]) -> Fraction:
    """Mean of recall and specificity, by a count."""
    recalls = []
    for kind in (True, False):
        of_kind = [p == t for p, t in zip(predicted, truth, strict=True) if t == kind]
        recalls += [Fraction(sum(of_kind), len(of_kind))] if of_kind else []
    return sum(recalls, Fraction()) / len(recalls)


@settings(deadline=None)
@given(images_of_two)
def test_no_threshold_is_better_where_it_was_chosen_and_one_half_is_left_only_for_more(images):
    """The oracle tries a threshold beside every probability, so that both classes are predicted."""
    truth = [is_ok for _, is_ok in images]
    if len(set(truth)) == 1:
        with pytest.raises(UserError, match=f"all of class {TWO[truth[0]]}"):
            choose_thresholds(of_two(images), TWO, multilabel=False)
        return
    chosen = choose_thresholds(of_two(images), TWO, multilabel=False)
    all_shares = [share for share, _ in images]
    every = [n / 32 for n in range(33) if min(all_shares) < n / 32 < max(all_shares)]
    best = max((balanced([s > t for s in all_shares], truth) for t in every), default=Fraction())
    found = balanced([share > chosen.classes["ok"] for share in all_shares], truth)
    plain = balanced([share > 0.5 for share in all_shares], truth)
    assert found == max(best, plain)
    assert (chosen.classes["ok"] == 0.5) == (plain == found)
    assert chosen.classes["bad"] == 1 - chosen.classes["ok"]
    assert chosen.images == len(images)


@settings(deadline=None)  # torchmetrics is imported
@given(images_of_two)
def test_at_thresholds_of_one_half_a_report_is_as_it_was(images):
    report = summarise([(result, None) for result in of_two(images)], TWO)
    at = report.at(Thresholds({"bad": 0.5, "ok": 0.5}))
    assert at == report


@settings(deadline=None)
@given(images_of_two, st.integers(0, 16).map(lambda n: n / 16))
def test_the_report_at_a_threshold_is_that_of_a_count_by_hand(images, threshold):
    report = summarise([(result, None) for result in of_two(images)], TWO)
    at = report.at(Thresholds({"bad": 1 - threshold, "ok": threshold}))
    predicted, truth = [share > threshold for share, _ in images], [ok for _, ok in images]
    right = [p == t for p, t in zip(predicted, truth, strict=True)]
    assert at.accuracy == pytest.approx(sum(right) / len(right))
    assert at.balanced_accuracy == pytest.approx(float(balanced(predicted, truth)))
    assert [result.label == "ok" for result in at.results] == predicted
    for result in at.results:
        assert result.probability == result.probabilities[str(result.label)]
    assert (at.auroc, at.loss, at.majority) == (report.auroc, report.loss, report.majority)


@settings(deadline=None)
@given(st.lists(st.tuples(shares, shares, st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_each_of_several_labels_has_the_threshold_that_it_has_by_itself(images):
    results = [
        Result(
            f"{number}",
            decode({"cat": cat, "dog": dog}, multilabel=True),
            0.5,
            {"cat": cat, "dog": dog},
            [],
            (*(("cat",) if is_cat else ()), *(("dog",) if is_dog else ())),
        )
        for number, (cat, dog, is_cat, is_dog) in enumerate(images)
    ]
    chosen = choose_thresholds(results, ("cat", "dog"), multilabel=True)
    for name, (place, known) in {"cat": (0, 2), "dog": (1, 3)}.items():
        alone = [(image[place], image[known]) for image in images]
        if len({has for _, has in alone}) == 1:  # nothing to choose by
            assert chosen.classes[name] == 0.5
        else:
            two = choose_thresholds(of_two(alone), TWO, multilabel=False)
            assert chosen.classes[name] == two.classes["ok"]
    at = summarise([(r, None) for r in results], ("cat", "dog"), multilabel=True).at(chosen)
    for result, (cat, dog, *_) in zip(at.results, images, strict=True):
        assert ("cat" in result.label) == (cat > chosen.classes["cat"])
        assert ("dog" in result.label) == (dog > chosen.classes["dog"])


def test_an_image_that_could_not_be_predicted_has_no_label_at_any_threshold():
    failed = Result("a", "", 0.0, {}, [], "ok", "a: gone")
    assert Thresholds({"bad": 0.9, "ok": 0.1}).apply(failed, multilabel=False) is failed


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two classes, one of which means that there is nothing to find."""
    place = tmp_path_factory.mktemp("two")
    counts = {"crack": 5, "ok": 5}
    photos = miniatures.class_folders(place / "photos", counts, (48, 64), ("train", "val", "test"))
    assert main(["train", str(photos), "--output", str(place / "run"), *OPTIONS]) == 0
    return place / "run"


def test_training_keeps_the_thresholds_of_its_best_weights(trained: Path):
    run = foveal.load(trained)
    validation = run.experiment.splits().validation
    report = run.evaluate(validation)
    chosen = choose_thresholds(report.results, run.classes, multilabel=False)
    assert run.thresholds == chosen
    assert chosen.images == 10
    assert "thresholds chosen on 10 validation images: crack above" in (
        trained / "log" / "messages.txt"
    ).read_text("utf-8")


def test_evaluation_tells_what_comes_of_the_kept_thresholds(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    keep_thresholds(RunFolder(copy), Thresholds({"crack": 0.0, "ok": 1.0}, 7))
    assert main(["evaluate", str(copy), "--json"]) == 0
    at = json.loads(capsys.readouterr().out)["at_threshold"]
    assert at["thresholds"] == {"crack": 0.0, "ok": 1.0}
    assert (at["chosen_on"], at["accuracy"], at["balanced_accuracy"]) == (7, 0.5, 0.5)
    assert at["per_class"] == {"crack": 1.0, "ok": 0.0}
    assert list(at["intervals"]) == ["accuracy", "balanced_accuracy"]
    assert main(["evaluate", str(copy)]) == 0
    words = "at thresholds chosen on 7 validation images, crack above 0, ok above 1:"
    assert words in capsys.readouterr().out  # and "the same", if the model says so by itself
    assert main(["explain", str(copy), "--output", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "chosen on 7 validation images: crack above 0, ok above 1" in page


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    capsys.readouterr()
    assert main(["predict", *words]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_prediction_is_as_usual_unless_a_threshold_is_asked_for(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    keep_thresholds(RunFolder(copy), Thresholds({"crack": 1.0, "ok": 0.0}, 7))
    words = [str(copy), str(trained.parent / "photos" / "test")]
    plain = rows(capsys, *words)
    assert rows(capsys, *words, "--threshold", "0.5") == plain
    for row in plain:
        assert (row["label"] == "crack") == (float(row["crack"]) > 0.5)
    assert {row["label"] for row in rows(capsys, *words, "--threshold", "0")} == {"crack"}
    assert {row["label"] for row in rows(capsys, *words, "--threshold", "1")} == {"ok"}
    kept = rows(capsys, *words, "--threshold", "validation")
    assert {row["label"] for row in kept} == {"ok"}
    assert [row["probability"] for row in kept] == [row["ok"] for row in plain]


@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "nan", "often"])
def test_a_threshold_that_is_none_is_one_line(
    trained: Path, threshold: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["predict", str(trained), "x.png", f"--threshold={threshold}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert threshold in error


def test_thresholds_without_a_meaning_are_refused_in_words(trained: Path, tmp_path: Path):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    (copy / "phases" / "thresholds.pt").unlink()
    with pytest.raises(UserError, match=r"keeps none.*give a number"):
        foveal.load(copy).predict([], threshold="validation")
    photos = miniatures.class_folders(tmp_path / "photos", {"a": 6, "b": 6, "c": 6}, (48, 64))
    output = tmp_path / "three"
    assert main(["train", str(photos), "--output", str(output), *OPTIONS]) == 0
    run = foveal.load(output)
    assert run.thresholds is None
    assert "at_threshold" not in run.evaluate().summary()
    with pytest.raises(UserError, match=r"among 3 classes, where a threshold has no meaning"):
        run.predict([], threshold=0.4)


def test_thresholds_of_other_classes_are_damage(trained: Path, tmp_path: Path):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    keep_thresholds(RunFolder(copy), Thresholds({"cat": 0.2, "ok": 0.8}, 7))
    with pytest.raises(UserError, match=r"thresholds that it keeps are damaged.*cat"):
        foveal.load(copy).evaluate()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("baseline", {"accuracy": 0.5, "balanced_accuracy": 1}),
        ("mixture", {"windows": 0.5, "view": 0.0}),
        ("thresholds", {"classes": {"a": 0.5, "b": 0}, "images": 7}),
        ("times", {"read": 0.5, "look": 3}),
    ],
)
def test_what_a_phase_kept_is_read_if_its_numbers_are_numbers(
    name: str, content: dict[str, Any], tmp_path: Path
):
    run = RunFolder(tmp_path)
    run.keep(name, content)
    assert run.kept(name) == content
    for wrong in ("0.5", "1", True, None):
        for key, value in content.items():
            inner = dict.fromkeys(value, wrong) if isinstance(value, dict) else wrong
            run.keep(name, content | {key: inner})
            with pytest.raises(UserError, match=rf"{name}\.pt.*{key}"):
                run.kept(name)


def test_several_labels_have_thresholds_and_their_own_images_are_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    labels = ["a", "b", "a|b", "", "a|b", "b"] * 2
    for number in range(12):
        pixels = miniatures.pixels(48, 64, seed=number)
        miniatures.write(tmp_path / "images" / f"{number}.png", pixels)
    split = ["train"] * 6 + ["val"] * 6
    data = [(f"images/{n}.png", labels[n], split[n]) for n in range(12)]
    table = miniatures.table(tmp_path / "labels.csv", "file,label,split", data)
    output = tmp_path / "run"
    assert main(["train", str(table), "--multilabel", "--output", str(output), *OPTIONS]) == 0
    run = foveal.load(output)
    assert run.thresholds is not None
    assert list(run.thresholds.classes) == ["a", "b"]
    at = run.evaluate().summary()["at_threshold"]
    assert at["chosen_on"] == 6
    assert at["balanced_accuracy"] >= run.evaluate().balanced_accuracy
    images = [tmp_path / "images" / f"{number}.png" for number in range(3)]
    assert [result.label for result in run.predict(images, threshold=0)] == [("a", "b")] * 3
    assert [result.label for result in run.predict(images, threshold=1)] == [()] * 3
    capsys.readouterr()
    assert main(["evaluate", str(output)]) == 0
    assert "warning: the thresholds were chosen on these images" in capsys.readouterr().err
