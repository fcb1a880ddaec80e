"""What is released says one version, and the extra `all` is all that a user may want."""

import re
import tomllib
from pathlib import Path

import yaml

import foveal

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_DEVELOPERS = {"docs", "test", "operators"}  # the last one for a benchmark


def test_every_file_says_the_same_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    said = {foveal.__version__, PROJECT["version"], citation["version"], latest[1]}
    assert len(said) == 1, said


def test_the_citation_names_the_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == PROJECT["license"]


def test_the_extra_all_holds_every_extra_of_users():
    extras = PROJECT["optional-dependencies"]
    (all_extras,) = extras["all"]
    named = re.fullmatch(r"foveal\[(.*)\]", all_extras)
    assert named is not None
    assert set(named[1].split(",")) == extras.keys() - FOR_DEVELOPERS - {"all"}
