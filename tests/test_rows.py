"""Laws of the tables of results: valid for any name, the same content in CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal._csv import active, csv_text, inert
from foveal.errors import UserError
from foveal.evaluation import Result, summarise
from foveal.report.rows import class_columns, csv_lines, json_lines, lines_for
from foveal.report.text import format_report

CLASSES = ("cat", "dog")
names = st.text(max_size=8) | st.just('caf\udce9, "x"\n.jpg')
shares = st.floats(0, 1) | st.just(math.nan)


good = st.fixed_dictionaries(
    {
        "file": names,
        "label": st.sampled_from([*CLASSES, (), CLASSES]),
        "probability": shares,
        "probabilities": st.fixed_dictionaries(dict.fromkeys(CLASSES, shares)),
        "windows": st.lists(st.tuples(*[st.integers(-9, 99)] * 4), max_size=3),
    }
)
bad = st.fixed_dictionaries(
    {
        "file": names,
        "label": st.just(""),
        "probability": st.just(0.0),
        "probabilities": st.just({}),
        "windows": st.just([]),
        "error": st.just("damaged; copy it again"),
    }
)
results = st.lists(good | bad, max_size=4)


def read_csv(rows: list[Result], classes: Sequence[str] = CLASSES) -> list[dict[str, str]]:
    content = "".join(csv_lines(rows, classes)).encode("utf-8").decode("utf-8")
    table = csv.DictReader(io.StringIO(content, newline=""))
    return [{name: active(cell) for name, cell in row.items()} for row in table]


def no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def read_json(rows: list[Result]) -> list[dict[str, object]]:
    content = "".join(json_lines(rows, CLASSES)).encode("utf-8").decode("utf-8")
    lines = content.split("\n")
    assert lines.pop() == ""
    return [json.loads(line, parse_constant=no_constant) for line in lines]


@given(results)
def test_a_csv_has_a_row_per_image_and_a_column_per_class(fields: list[dict[str, Any]]) -> None:
    rows = [Result(**each) for each in fields]
    table = read_csv(rows)
    assert len(table) == len(rows)
    for cells, result in zip(table, rows, strict=True):
        assert list(cells) == ["file", "label", "probability", "cat", "dog", "windows", "error"]
        if result.error:
            assert cells["error"] == result.error
            assert {cells[name] for name in (*CLASSES, "label", "probability", "windows")} == {""}
            continue
        for name in CLASSES:
            share = result.probabilities[name]
            assert cells[name] == ("" if math.isnan(share) else f"{share:.6f}")
        boxes = [[left, top, right, bottom] for top, left, bottom, right in result.windows]
        assert json.loads(cells["windows"]) == boxes


@given(results)
def test_json_lines_are_valid_and_have_the_content_of_the_csv(fields: list[dict[str, Any]]) -> None:
    rows = [Result(**each) for each in fields]
    for line, cells in zip(read_json(rows), read_csv(rows), strict=True):
        assert line["file"] == cells["file"]
        assert (line["error"] or "") == cells["error"]
        if line["error"]:
            assert line["label"] is line["probability"] is None
            continue
        assert line["windows"] == json.loads(cells["windows"])
        assert list(line["probabilities"]) == list(CLASSES)
        for name, share in line["probabilities"].items():
            assert cells[name] == ("" if share is None else f"{share:.6f}")


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_rows_of_any_text_are_read_back_as_they_were_written(rows: list[list[str]]) -> None:
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows


def test_a_set_of_classes_is_text_in_csv_and_a_list_in_json() -> None:
    rows = [Result("a", label, 0.5, {}, []) for label in (("cat", "dog"), ())]
    assert [cells["label"] for cells in read_csv(rows)] == ["cat + dog", "(none)"]
    assert [line["label"] for line in read_json(rows)] == [["cat", "dog"], []]


taken = st.sampled_from(["file", "label", "error", "class_label", "class_class_label", "cat"])


@given(st.lists(taken, unique=True))
def test_columns_are_unique_whatever_the_classes_are_called(classes: list[str]) -> None:
    header = next(csv.reader(csv_lines([], classes)))
    assert len(set(header)) == len(header) == len(classes) + 5
    for name, column in zip(classes, class_columns(classes), strict=True):
        assert column.endswith(name)
        assert column == name or name in ("file", "label", "error")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv.gz"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"must end in \.csv, \.jsonl or \.parquet"):
        lines_for(Path(name))


def test_the_ending_chooses_the_format() -> None:
    assert lines_for(Path("a.CSV")) is csv_lines
    assert lines_for(Path("a.jsonl")) is json_lines


def test_a_report_is_told_in_the_words_of_the_field() -> None:
    pairs = [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("cat", "cat")]
    good = [
        Result(f"{label}", label, 0.9, {"cat": 0.5, "dog": 0.5}, [], truth)
        for label, truth in pairs
    ]
    lines = format_report(summarise([(r, None) for r in good], CLASSES), "data").splitlines()
    assert lines[0] == "data: 4 images"
    numbers = {line[2:].split("  ")[0]: line for line in lines[1:]}
    assert "75.0%" in numbers["accuracy"]
    assert "75.0%" in numbers["balanced accuracy"]
    assert "50.0%" in numbers["constant predictor"]
    assert "hit rate" not in numbers
    recalls = lines[lines.index("recall per class:") + 1 :]
    assert [line.split() for line in recalls] == [["cat", "100.0%"], ["dog", "50.0%"]]


formulas = st.sampled_from(
    ["=1+1", "@a", "+x", "-x", "\tx", "\r=x", "'=x", "''-y", "-1", "+inf", "'a"]
)


@given(formulas | st.text("'=+-@1e\t x", max_size=5))
def test_no_cell_is_a_formula_and_the_text_of_each_comes_back(text: str) -> None:
    cell = inert(text)
    assert active(cell) == text
    if cell.startswith(tuple("=+-@\t\r\n")):
        float(cell)  # a number is no formula


def test_names_in_a_csv_are_no_formulas() -> None:
    rows = [Result("=cmd", "@a", 0.5, {"@a": 0.5, "-1": 0.5}, [], None)]
    header, row = csv.reader(csv_lines(rows, ["@a", "-1"]))
    assert header == ["file", "label", "probability", "'@a", "-1", "windows", "error"]
    assert row[:2] == ["'=cmd", "'@a"]
