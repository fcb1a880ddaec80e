"""Predictions from a table of paths, and into a Parquet file."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

import miniatures
from foveal.cli.main import main
from foveal.errors import UserError
from foveal.evaluation import Result
from foveal.report.rows import csv_lines, json_lines
from foveal.report.rows_file import open_rows, read_rows
from foveal.runs.run import list_images

RUN = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"
parquet = pytest.mark.skipif(find_spec("pyarrow") is None, reason="takes the extra parquet")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four images of cats and six of dogs."""
    miniatures.class_folders(tmp_path / "photos", size=(64, 80))
    return tmp_path / "photos"


def test_a_csv_names_images_relative_to_its_folder(photos: Path) -> None:
    rows = [("dog/1.png", "x"), ("cat/0.png", "y"), ("dog/1.png", "z"), ("gone.png", "")]
    table = miniatures.table(photos / "new.csv", "file,remark", rows)
    names = ["dog/1.png", "cat/0.png", "dog/1.png", "gone.png"]
    assert list_images(table).sources == [photos / name for name in names]


def test_the_table_of_a_training_is_one_of_images(tmp_path: Path) -> None:
    table = miniatures.labels_csv(tmp_path)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list_images(table).sources == [tmp_path / row["file"] for row in rows]


def test_predictions_of_a_table_are_those_of_its_images(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = miniatures.table(photos / "new.csv", "file", [("cat/0.png",), ("gone.png",)])
    assert main(["predict", str(RUN), str(table)]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert main(["predict", str(RUN), str(photos / "cat" / "0.png")]) == 0
    assert list(csv.DictReader(capsys.readouterr().out.splitlines())) == [first]
    assert second["file"] == str(photos / "gone.png")
    assert second["error"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.png\n", "no column file"),
        ("file\n", "no rows"),
        ("file,label\n,cat\n", "row 1 names no file"),
    ],
)
def test_a_table_without_names_is_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        list_images(tmp_path / "t.csv")


@parquet
def test_a_parquet_table_names_images_as_a_csv_does(photos: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    table, names = photos / "new.parquet", ["dog/1.png", "cat/0.png"]
    write_table(pyarrow.table({"label": [1, 2], "file": names}), table)
    assert list_images(table).sources == [photos / name for name in names]
    for columns, message in (
        ({"path": names}, "no column file: it has path"),
        ({"file": ["a", None]}, "row 2 names no file"),
        ({"file": pyarrow.array([], "string")}, "no rows"),
    ):
        write_table(pyarrow.table(columns), table)
        with pytest.raises(UserError, match=message):
            list_images(table)
    table.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        list_images(table)


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_without_pyarrow_one_line_says_what_to_install(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [[str(photos), "--output", "x.parquet"], [str(photos / "new.parquet")]]
    (photos / "new.parquet").write_bytes(b"")
    for arguments in asked:
        assert main(["predict", str(RUN), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "pip install 'foveal[parquet]'" in line


SINGLE = [
    Result("a, b.png", "cat", 0.75, {"cat": 0.75, "label": 0.25}, [(0, 1, 2, 3), (4, 5, 6, 7)]),
    Result("caf\udce9.png", "", 0.0, {}, [], None, 'damaged "x",\nreally'),
    Result("=1.png", "label", 1 / 3, {"cat": 1 / 7, "label": 1 / 3}, []),
]
SEVERAL = [
    Result("a.png", ("cat", "label"), 0.5, {"cat": 0.75, "label": 2 / 3}, [(0, 1, 2, 3)]),
    Result("b.png", (), 0.5, {"cat": 0.1, "label": 0.2}, [(0, 1, 2, 3)]),
]
CLASSES = ("cat", "label")


@parquet
@pytest.mark.parametrize("results", [SINGLE, SEVERAL, []])
def test_a_parquet_file_holds_what_json_lines_hold(tmp_path: Path, results: list[Result]) -> None:
    import pyarrow.parquet

    from foveal.report.parquet import unpack_parquet, write_parquet

    multilabel = results is SEVERAL
    lines, file, again = (tmp_path / name for name in ("l.jsonl", "f.parquet", "again.jsonl"))
    with open_rows(lines) as append:
        for line in json_lines(results, CLASSES):
            append(line)
    write_parquet(file, lines, CLASSES, multilabel=multilabel)
    table = pyarrow.parquet.read_table(file)
    header = next(csv_lines((), CLASSES)).strip().split(",")
    assert table.column_names == header
    for row, line in zip(table.to_pylist(), lines.read_text().splitlines(), strict=True):
        known = json.loads(line)
        shares = known.pop("probabilities")
        assert row == known | {"cat": shares.get("cat"), "class_label": shares.get("label")}
    unpack_parquet(file, again, CLASSES, multilabel=multilabel)
    assert again.exists() == bool(results)
    assert not results or again.read_bytes() == lines.read_bytes()


@parquet
def test_rows_that_were_half_unpacked_are_unpacked_again_and_later_ones_kept(
    tmp_path: Path,
) -> None:
    from foveal.report.parquet import unpack_parquet, write_parquet

    lines, file = tmp_path / "f.parquet.jsonl", tmp_path / "f.parquet"
    whole = "".join(json_lines(SINGLE, CLASSES)).encode()
    lines.write_bytes(whole)
    write_parquet(file, lines, CLASSES, multilabel=False)
    for cut in range(0, len(whole), 7):
        lines.write_bytes(whole[:cut])
        unpack_parquet(file, lines, CLASSES, multilabel=False)
        assert lines.read_bytes() == whole
    more = whole + next(json_lines([Result("c", "", 0.0, {}, [], None, "bad")], CLASSES)).encode()
    lines.write_bytes(more)
    unpack_parquet(file, lines, CLASSES, multilabel=False)
    assert lines.read_bytes() == more
    assert read_rows(lines, CLASSES).files.total() == 4


@parquet
def test_a_parquet_file_is_continued_and_replaced_as_a_csv_is(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyarrow.parquet import read_table

    output = tmp_path / "out" / "p.parquet"
    command = ["predict", str(RUN), "--output", str(output)]
    assert main([*command, str(photos / "cat")]) == 0
    first = read_table(output).to_pylist()
    assert main([*command, str(photos), "--resume"]) == 0
    assert "6 of 10 images are missing" in capsys.readouterr().err
    both = read_table(output).to_pylist()
    assert both[:4] == first
    assert len({row["file"] for row in both}) == len(both) == 10
    assert main([*command, str(photos / "dog")]) == 0
    assert read_table(output).to_pylist() == both[4:]
    assert [each.name for each in output.parent.iterdir()] == ["p.parquet"]


@parquet
def test_a_parquet_file_of_other_things_is_not_continued(photos: Path, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    output = tmp_path / "p.parquet"
    command = ["predict", str(RUN), str(photos), "--output", str(output), "--resume"]
    write_table(pyarrow.table({"file": ["a"]}), output)
    before = output.read_bytes()
    assert main(command) == 2
    assert output.read_bytes() == before
    output.write_bytes(b"nothing")
    assert main(command) == 2
    assert output.read_bytes() == b"nothing"
