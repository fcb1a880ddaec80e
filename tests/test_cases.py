"""Predictions of cases, several images that belong together."""

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest

import miniatures
from foveal.cli.main import main
from foveal.evaluation import Thresholds
from foveal.evaluation.cases import case_of
from foveal.report.case_rows import write_cases
from foveal.report.rows_file import read_shares
from foveal.runs import load

RUN = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"
FILES = ("cat/0.png", "dog/0.png", "cat/1.png", "dog/1.png")
SURE, FAINT, NONE = (
    {"none": 0.1, "a": 0.7, "b": 0.2},
    {"none": 0.5, "a": 0.2, "b": 0.3},
    {"none": 0.9, "a": 0.05, "b": 0.05},
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of cats and dogs."""
    return miniatures.class_folders(tmp_path / "photos", size=(64, 80))


def test_the_image_that_shows_something_decides() -> None:
    images = [("x", NONE), ("y", SURE), ("z", FAINT)]
    case = case_of("case", images, nothing="none", multilabel=False)
    assert (case.label, case.probability, case.image) == ("a", 0.7, "y")
    assert case.probabilities == SURE


def test_a_case_shows_nothing_if_no_image_does() -> None:
    case = case_of("case", [("x", NONE), ("z", FAINT)], nothing="none", multilabel=False)
    assert (case.label, case.image) == ("none", "x")
    assert case.probability == pytest.approx(0.5)  # that of the image in doubt


def test_images_count_the_same_where_no_class_means_nothing() -> None:
    case = case_of("case", [("x", NONE), ("y", SURE)], nothing=None, multilabel=False)
    assert case.probabilities == pytest.approx({"none": 0.5, "a": 0.375, "b": 0.125})
    assert sum(case.probabilities.values()) == pytest.approx(1)


def test_a_case_has_what_any_image_has() -> None:
    images = [("x", {"a": 0.9, "b": 0.2}), ("y", {"a": 0.1, "b": 0.6})]
    case = case_of("case", images, nothing=None, multilabel=True)
    assert case.label == ("a", "b")
    assert case.probabilities == {"a": 0.9, "b": 0.6}


def test_thresholds_are_those_of_images() -> None:
    images = [("x", {"ok": 0.7, "bad": 0.3}), ("y", {"ok": 0.8, "bad": 0.2})]
    low = Thresholds({"ok": 0.75, "bad": 0.25})
    for thresholds, label in ((None, "ok"), (low, "bad")):
        case = case_of("case", images, nothing="ok", multilabel=False, thresholds=thresholds)
        assert case.label == label


@pytest.mark.parametrize("nothing", ["none", None])
@pytest.mark.parametrize("shares", [SURE, FAINT, NONE])
def test_a_case_of_one_image_is_that_image(shares: dict[str, float], nothing: str | None) -> None:
    case = case_of("case", [("x", shares), ("bad", None)], nothing=nothing, multilabel=False)
    assert case.probabilities == shares
    assert (case.images, case.failed, case.image) == (2, 1, "x")


def test_a_case_of_bad_images_has_no_answer() -> None:
    case = case_of("case", [("x", None)], nothing=None, multilabel=False)
    assert (case.label, case.probabilities, case.image) == ("", {}, "")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_cases_of_a_table(photos: Path, tmp_path: Path, name: str) -> None:
    cases = dict(zip(FILES, ("p1", "p2", "p1", "=p2"), strict=True)) | {"gone.png": "p3"}
    table = miniatures.table(photos / "slides.csv", "file,case", list(cases.items()))
    output, found = tmp_path / name, tmp_path / "new" / "cases.csv"
    command = ["predict", str(RUN), str(table), "--output", str(output), "--cases", str(found)]
    assert main(command) == 0
    rows = {row["case"]: row for row in csv.DictReader(found.read_text().splitlines())}
    assert list(rows) == ["p1", "p2", "'=p2", "p3"]
    assert [row["images"] for row in rows.values()] == ["2", "1", "1", "1"]
    assert rows["p3"]["label"] == ""
    assert "1 of 1" in rows["p3"]["error"]
    by_image = dict(read_shares(output, load(RUN).classes))
    both = [by_image[str(photos / name)] for name in ("cat/0.png", "cat/1.png")]
    mean = sum(shares["red"] for shares in both if shares is not None) / 2
    assert float(rows["p1"]["red"]) == pytest.approx(mean, abs=1e-6)
    assert rows["p1"]["file"] in {str(photos / "cat/0.png"), str(photos / "cat/1.png")}

    before = found.read_bytes()
    kept = output.read_text().splitlines(keepends=True)[:2]
    output.write_text("".join(kept))  # as after an interruption
    assert main([*command, "--resume"]) == 0
    assert found.read_bytes() == before


def test_sub_folders_are_cases(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "cat" / "deep").mkdir()
    (photos / "cat" / "0.png").rename(photos / "cat" / "deep" / "0.png")
    output, found = tmp_path / "rows.csv", tmp_path / "cases.csv"
    command = ["predict", str(RUN), str(photos), "--output", str(output), "--cases", str(found)]
    assert main(command) == 0
    rows = list(csv.DictReader(found.read_text().splitlines()))
    assert [(row["case"], row["images"]) for row in rows] == [("cat", "4"), ("dog", "6")]
    (photos / "dog" / "0.png").rename(photos / "0.png")
    assert main(command) == 2
    assert "lies in no sub-folder" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="takes the extra parquet")
def test_cases_of_and_from_parquet(photos: Path, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    table = photos / "slides.parquet"
    write_table(pyarrow.table({"case": [7, 7], "file": list(FILES[:2])}), table)
    output, found = tmp_path / "rows.parquet", tmp_path / "cases.csv"
    assert (
        main(["predict", str(RUN), str(table), "--output", str(output), "--cases", str(found)]) == 0
    )
    assert [row["case"] for row in csv.DictReader(found.read_text().splitlines())] == ["7"]


@pytest.mark.parametrize(
    ("header", "rows", "more", "message"),
    [
        ("file", [("cat/0.png",)], [], "no column case"),
        ("file,case", [("cat/0.png", "")], [], "row 1 names no case"),
        ("file,case", [("cat/0.png", "a"), ("cat/0.png", "b")], [], "row 2 names"),
        ("file,case", [("cat/0.png", "a")], ["photos"], "takes one table"),
    ],
)
def test_a_table_that_names_no_cases_is_refused(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    header: str,
    rows: list[tuple[str, ...]],
    more: list[str],
    message: str,
) -> None:
    table = miniatures.table(photos / "slides.csv", header, rows)
    files = ["--output", str(tmp_path / "rows.csv"), "--cases", str(tmp_path / "cases.csv")]
    assert main(["predict", str(RUN), str(table), *more, *files]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "rows.csv").exists()


def test_a_single_image_is_no_set_of_cases(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--output", str(tmp_path / "rows.csv"), "--cases", str(tmp_path / "cases.csv")]
    assert main(["predict", str(RUN), str(photos / "cat" / "0.png"), *files]) == 2
    assert "columns file,case" in capsys.readouterr().err


@pytest.mark.parametrize("cases", ["cases.txt", "."])
def test_a_file_of_cases_must_be_a_csv(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cases: str
) -> None:
    table = miniatures.table(photos / "slides.csv", "file,case", [("cat/0.png", "a")])
    where = ["--output", str(tmp_path / "rows.csv"), "--cases", str(tmp_path / cases)]
    assert main(["predict", str(RUN), str(table), *where]) == 2
    assert "ends in .csv" in capsys.readouterr().err


def test_cases_do_not_replace_the_rows(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--output", str(tmp_path / "rows.csv"), "--cases", str(tmp_path / "." / "rows.csv")]
    assert main(["predict", str(RUN), str(photos), *files]) == 2
    assert "the file of --output" in capsys.readouterr().err


def test_cases_take_an_output(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(RUN), str(photos), "--cases", "cases.csv"]) == 2
    assert "--output" in capsys.readouterr().err


def test_a_class_that_bears_the_name_of_a_column(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    shares = '{"images": 0.4, "case": 0.6}'
    rows.write_text(
        f'{{"file": "x", "label": "case", "probability": 0.6, "probabilities": {shares},'
        ' "windows": [], "error": null}\n'
    )
    found = tmp_path / "cases.csv"
    classes = ("images", "case")
    write_cases(found, rows, {"x": "p"}, classes, nothing=None, multilabel=False, thresholds=None)
    assert found.read_text().splitlines() == [
        "case,label,probability,class_images,class_case,images,file,error",
        "p,case,0.600000,0.400000,0.600000,1,x,",
    ]
