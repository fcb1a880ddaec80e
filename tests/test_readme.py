"""What the README claims, runs."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import test_layers
from fixtures import format1
from foveal.cli import main as cli
from foveal.cli.benchmark import tasks
from foveal.field import TASKS as FIELD
from foveal.paper import recipes
from foveal.paper.tables.definitions import TABLES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def fenced(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[str]:
    """The indented lines that call foveal, with continuation lines joined."""
    text = page.read_text().replace("\\\n", " ")
    return [line.strip() for line in text.split("\n") if re.match(r"    foveal [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_run_without_a_warning(page, tmp_path):
    """They find a trained run in runs/mine and images in NEW_PICTURES."""
    run = ROOT / "tests" / "fixtures" / "run_format1_folder" / "run"
    shutil.copytree(run, tmp_path / "runs" / "mine")
    format1.make_images(tmp_path / "NEW_PICTURES")
    for program in fenced(page):
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", program],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        claimed = re.findall(r"\((?:\d+, )+\d+\)", "\n".join(re.findall("#(.*)", program)))
        for shape in claimed:
            assert shape in done.stdout, f"the page claims {shape}, the program said {done.stdout}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_options_named_on_a_page_exist(page, capsys):
    for command in commands(page):
        words = shlex.split(command, comments=True)[1:]
        topics = {"train": recipes.NAMES, "data": (*FIELD, *recipes.NAMES)}
        topics |= {"benchmark": tuple(tasks()), "reproduce": TABLES}
        topic = [word for word in words[1:2] if word in topics.get(words[0], ())]
        scale = ["--scale", "mini"] if "mini" in words else []
        assert cli.main([words[0], *topic, *scale, "--help"]) == 0, f"{page.name}: {command}"
        shown = capsys.readouterr().out.split()
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert option in shown, f"{page.name}: {command}: no {option}"


def test_the_architecture_names_files_that_exist():
    page = ROOT / "docs" / "architecture.md"
    drawn = re.findall(r'class="file"[^>]*>([^<]+)<', page.with_suffix(".svg").read_text())
    named = re.findall(r"`([\w*/]+(?:/|\.py))`", page.read_text()) + ", ".join(drawn).split(", ")
    assert len(named) > 40
    for name in named:
        home = ROOT if name.startswith("tests/") else ROOT / "src" / "foveal"
        assert list(home.glob(name)), f"there is no {name}"


def test_the_architecture_lists_the_folders_in_the_order_of_their_imports():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)`", text.split("## Folders")[1], re.MULTILINE)
    assert rows == [name for name in test_layers.ORDER if not name.startswith("_")]


def test_the_two_commands_are_there_and_the_second_is_what_ci_runs():
    text = (ROOT / "README.md").read_text()
    for script in ("scripts/first_look.sh", "scripts/test.sh"):
        assert f"bash {script}" in text
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text()


def test_every_pip_line_is_constrained():
    scripts = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
    for page in [*PAGES, *scripts]:
        for line in page.read_text().replace("\\\n", " ").split("\n"):
            if "pip install" in line:
                assert "-c constraints.txt" in line, f"{page.name}: {line}"
