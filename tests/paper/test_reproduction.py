"""Tables of experiments: every row is a recipe call, and what is trained is not trained again."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from foveal.cli.main import main
from foveal.errors import UserError
from foveal.experiment import option_places
from foveal.paper import recipes
from foveal.paper.tables.definitions import TABLES
from foveal.paper.tables.format_table import format_table
from foveal.paper.tables.run_table import folder_name, reproduce
from foveal.paper.tables.trial import Outcome, Trial, read_outcome, run_trial

TINY = {"train": 12, "validation": 6, "test": 6, "batch": 4, "steps": 4, "widths": (4, 4, 4, 4)}
GOOD = Outcome(seconds=120, curve=[(10, 0.5), (20, 0.95)], accuracy=0.92, majority=0.2, hits=0.9)


def tiny(name: str, output: Path, **options: object) -> tuple[str, list[str]]:
    """A table with runs of a few steps, and what was said while they were made."""
    said: list[str] = []
    given = {"settings": TINY, "seeds": range(2), "scale": "mini", "output": output, **options}
    return reproduce(name, say=said.append, **given), said


CALLS = [
    (name, scale, row)
    for name, asked in TABLES.items()
    for scale in asked.sizes
    for row in asked.rows
]


@pytest.mark.parametrize(("name", "scale", "row"), CALLS, ids=lambda x: getattr(x, "name", x))
def test_every_row_is_a_call_of_a_recipe(name, scale, row):
    size = TABLES[name].sizes[scale]
    recipe = row.recipe or size.recipe
    known = set(option_places(recipes.find(recipe)))
    assert set(row.options) <= known
    if not recipes.required(recipe):
        common = {key: value for key, value in size.options.items() if key in known}
        assert recipes.build(recipe, {**common, **row.options}).recipe == recipe


@pytest.mark.parametrize(("name", "scale"), [(n, s) for n in TABLES for s in TABLES[n].sizes])
def test_what_all_rows_share_is_known_to_some_recipe(name, scale):
    called = TABLES[name].recipes(scale)
    known = set().union(*(option_places(recipes.find(recipe)) for recipe in called))
    assert set(TABLES[name].sizes[scale].options) <= known


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_a_table_differ_in_what_they_run_and_in_their_names(name):
    rows = TABLES[name].rows
    assert len({row.name for row in rows}) == len(rows)
    calls = {(row.recipe, json.dumps(dict(row.options), sort_keys=True)) for row in rows}
    assert len(calls) == len(rows)


def test_what_two_tables_have_in_common_is_made_once(tmp_path):
    page, said = tiny("table2", tmp_path, rows=["Top-K, transformer"])
    assert len(said) == 2
    assert (tmp_path / "table2.md").read_text() == page
    again, said = tiny("table4", tmp_path, rows=["sigma falls, hard evaluation"])
    assert said == []
    assert again.splitlines()[-1].split("|")[3:] == page.splitlines()[-1].split("|")[3:]


def test_processes_come_to_the_same_numbers_as_one(tmp_path):
    one, _ = tiny("estimators", tmp_path / "one", rows=["exact", "diagonal, centred"])
    two, _ = tiny("estimators", tmp_path / "two", rows=["exact", "diagonal, centred"], jobs=2)
    without_time = [[line.split("|")[:-2] for line in page.splitlines()] for page in (one, two)]
    assert without_time[0] == without_time[1]


def test_a_table_that_was_interrupted_goes_on_to_the_same_numbers(tmp_path):
    settings = TINY | {"steps": 60, "validate_every": 30, "train": 8}
    arguments = [
        *("reproduce", "estimators", "--scale", "mini", "--seeds", "2", "--rows", "exact"),
        *("--output", str(tmp_path / "cut"), "--jobs", "2"),
        *(f"--{name}={value}" for name, value in settings.items() if name != "widths"),
        *("--widths", "4", "4", "4", "4"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "foveal", *arguments], stderr=subprocess.PIPE, text=True
    )
    paths = [
        tmp_path / f"cut/billiards_mini/{folder_name(settings)}/seed {seed}" for seed in (0, 1)
    ]
    while not all((path / "metrics.csv").exists() for path in paths):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("the same command goes on")
    trials = [
        Trial("billiards_mini", {**settings, "data_seed": 0, "seed": n}, paths[n]) for n in (0, 1)
    ]
    assert None in [read_outcome(replace(trial, options={})) for trial in trials]

    went_on = reproduce(
        "estimators", scale="mini", seeds=range(2), rows=["exact"], settings=settings,
        output=tmp_path / "cut",
    )  # fmt: skip
    whole = reproduce(
        "estimators", scale="mini", seeds=range(2), rows=["exact"], settings=settings,
        output=tmp_path / "whole",
    )  # fmt: skip
    assert went_on.split("|")[:-2] == whole.split("|")[:-2]


def test_a_folder_of_other_settings_is_not_taken_for_the_run(tmp_path):
    trial = Trial("billiards_mini", {**TINY, "seed": 0}, tmp_path / "run")
    run_trial(trial)
    with pytest.raises(
        UserError, match=r"the run in .* has seed 0, not 1: choose another --output"
    ):
        read_outcome(replace(trial, options={**TINY, "seed": 1}))
    (tmp_path / "run/result.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        read_outcome(trial)


def test_a_run_that_diverges_is_a_failure_and_not_the_end(tmp_path):
    settings = TINY | {"learning_rate": 1e30, "warm_up": 0.0, "scorer_delay": 0.0, "steps": 14}
    outcome = run_trial(Trial("billiards_mini", settings, tmp_path / "run"))
    assert outcome.accuracy is None
    assert "diverged" in str(outcome.failure)
    assert not outcome.learned
    assert read_outcome(Trial("billiards_mini", settings, tmp_path / "run")) == outcome
    line = format_table(TABLES["table2"], {"Top-K, max": [outcome, GOOD]}).splitlines()[-1]
    assert line.startswith(
        "| Top-K, max | 90.8 ± 0.1 | 92.0 ± 0.0 | 92.0 ± 0.0 | 92.0 | 90.0 | 2 | 1 |"
    )


def test_a_table_says_how_much_how_often_and_how_soon():
    runs = [replace(GOOD, accuracy=a) for a in (0.90, 0.92, 0.97)]
    runs.append(replace(GOOD, accuracy=0.22, curve=[(10, 0.2), (20, 0.22)], seconds=60))
    line = format_table(TABLES["estimators"], {"exact": runs}).splitlines()[-1]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    # mean 75.25, deviation 35.63; median 91, distances 1, 1, 6, 69
    assert cells == [
        *("exact", "", "75.2 ± 35.6", "91.0 ± 3.5", "97.0", "90.0", "4", "1", "3", "20", "2.0")
    ]


def test_an_unknown_row_or_option_is_the_users_to_mend(tmp_path, capsys):
    common = ["reproduce", "table2", "--scale", "mini", "--output", str(tmp_path / "x")]
    assert main([*common, "--rows", "Top-K"]) == 2
    assert "no row 'Top-K': there are Top-K, transformer; " in capsys.readouterr().err
    assert main([*common, "--step", "3"]) == 2
    assert "did you mean" in capsys.readouterr().err.lower()
    assert main(["reproduce", "table9"]) == 2
    assert "unknown table 'table9'" in capsys.readouterr().err
    assert main([*common[:1], "table3", *common[2:]]) == 2
    assert "--data must be given" in capsys.readouterr().err
    assert main([*common[:1], "table1", *common[2:], "--jobs", "1"]) == 2
    assert "foveal data traffic_signs --output PATH" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(UserError, match="has no option step"):
        tiny("table2", tmp_path / "x", settings={"step": 3})


def test_an_option_overrides_the_rows_whose_recipe_has_it(tmp_path, monkeypatch):
    trials = []
    monkeypatch.setattr(
        "foveal.paper.tables.run_table.run_trials", lambda some, jobs: trials.extend(some) or ()
    )
    options = {"data": tmp_path, "k": 7, "steps": 3}
    tiny("table1", tmp_path / "x", settings=options, seeds=[0])
    chosen = {(each.recipe, each.options.get("k"), each.options["steps"]) for each in trials}
    assert chosen == {("traffic_signs", 7, 3), ("traffic_signs_cnn", None, 3)}
