"""The site of the documentation has every page and every public name, and quotes real messages."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import foveal
from foveal import nn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def messages() -> list[str]:
    """Every text in the source; what is filled in is a NUL."""
    found = []
    for file in (ROOT / "src" / "foveal").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "\0" for v in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


QUOTED = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)


def test_the_messages_quoted_for_troubleshooting_are_printed_by_the_program():
    texts = messages()
    assert len(QUOTED) > 30
    unknown = []
    for quoted in QUOTED:
        parts = [part.strip() for part in re.split(r"\.\.\.|; |: ", quoted)]
        assert len(max(parts, key=len)) > 10
        unknown += [part for part in parts if not any(part in text for text in texts)]
    assert not unknown


def test_every_page_is_in_the_contents_once():
    contents = runpy.run_path(str(DOCS / "conf.py"))["CONTENTS"]
    listed = [re.sub(r".*<(.*)>", r"\1", page) for pages in contents.values() for page in pages]
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    names = {str(page.relative_to(ROOT).with_suffix("")) for page in pages} - {"README"} | {"self"}
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("name", [name for name in foveal.__all__ if not name.startswith("_")])
def test_every_public_name_is_in_the_reference(name):
    reference = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    documented = re.findall(r"^\.\. auto\w+:: (.*)$", reference, re.MULTILINE)
    parts = (f"nn.{part}" for part in nn.__all__) if name == "nn" else (name,)
    assert all(f"foveal.{part}" in documented for part in parts)
