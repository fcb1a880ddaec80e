"""The documentation as a site: the Markdown of the repository, and docstrings as the reference.

Sphinx reads the repository itself, so every link leads to the same file there and on the site.
Docstrings are plain text with indented formulas; `mark_literals` says so to Sphinx.
"""

import re
import shutil
from typing import Any

import foveal

project = "foveal"
author = "the foveal authors"
version = release = foveal.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "build", "dist", "examples", "runs", "scripts", "src", "tests"]
nitpicky = False  # types of other libraries have no page here
myst_heading_anchors = 4
highlight_language = "none"  # indented blocks are commands and formulas
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_attr_annotations = False  # the signature has the types
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"foveal {version}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

CONTENTS = {
    "Use": (
        "First look <self>",
        "docs/own_data",
        "docs/data",
        "Large files and formats <docs/formats>",
        "docs/deployment",
        "docs/troubleshooting",
    ),
    "Understand": (
        "Choosing a selection method, and its mathematics <docs/selection>",
        "docs/architecture",
        "docs/extending",
    ),
    "Reference": ("docs/api/selection", "docs/api/models", "docs/api/data", "docs/api/training"),
    "Measurements": (
        "docs/results",
        "docs/results_appendix",
        "docs/field_tasks",
        "docs/reproduction",
    ),
    "Project": ("CONTRIBUTING", "CHANGELOG"),
}
"""Caption -> pages, in the order of the sidebar."""


CODE = r"(?<!`)`([^`]+)`(?!`)"


def add_contents(app: Any, name: str, source: list[str]) -> None:
    """Add the contents to the README, which has none of its own in the repository."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            listed = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def mark_literals(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Mark what is indented after an empty line as literal, and what single backticks hold as code.

    Sections (`Args:` and the like) are indented without an empty line before, and stay.
    """
    marked: list[str] = []
    is_literal = False
    for line in lines:
        is_indented = line.startswith("    ")
        if is_indented and not is_literal and (not marked or not marked[-1].strip()):
            marked += ["::", ""]
            is_literal = True
        elif line.strip() and not is_indented:
            is_literal = False
        marked.append(line if is_literal else re.sub(CODE, r"``\1``\\ ", line))
    lines[:] = marked


def copy_first_page(app: Any, failure: Exception | None) -> None:
    """Make the README the page that a browser opens in the folder."""
    if failure is None and app.builder.name == "html":
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Any) -> None:
    """Register the three."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", mark_literals, priority=100)  # before napoleon
    app.connect("build-finished", copy_first_page)
