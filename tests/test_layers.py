"""Imports go downwards only; only the field tasks and the command line import the paper."""

import ast
from pathlib import Path

import pytest

import foveal

ROOT = Path(foveal.__file__).parent
ORDER = (
    "errors",
    "_csv",
    "_files",
    "_lengths",
    "_locks",
    "_memory",
    "_signals",
    "_futures",
    "_terminal",
    "_checks",
    "_devices",
    "_float64",
    "_json",
    "_pointers",
    "_precision",
    "_processes",
    "_progress",
    "_seeding",
    "_threads",
    "_torchvision",
    "_native",
    "settings",
    "schedules",
    "topk",
    "windows",
    "images",
    "patches",
    "prediction",
    "nn",
    "proposals",
    "models",
    "data",
    "objectives",
    "evaluation",
    "report",
    "export",
    "experiment",
    "runs",
    "training",
    "phases",
    "planning",
    "paper",
    "field",
    "cli",
)
"""Every module and folder of the top level, each may import those before it."""
SOURCES = sorted(
    path for path in ROOT.rglob("*.py") if path not in (ROOT / "__init__.py", ROOT / "__main__.py")
)


def top_level(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(node: ast.AST) -> set[str]:
    """Every foveal module named in an import, also inside functions, but not for type checkers."""
    names: set[str] = set()
    if is_for_type_checkers(node):
        return names
    if isinstance(node, ast.Import):
        names |= {alias.name for alias in node.names if alias.name.startswith("foveal.")}
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "foveal":
        names |= {f"foveal.{alias.name}" for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("foveal."):
        names.add(str(node.module))
    for child in ast.iter_child_nodes(node):
        names |= imported(child)
    return names


def own_place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_module_and_folder_has_its_place_in_the_order():
    assert {own_place(path) for path in SOURCES} | {"_native"} == set(ORDER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    own = own_place(path)
    for module in imported(ast.parse(path.read_text())):
        other = top_level(module)
        if other != own and not other.startswith("__"):
            assert ORDER.index(other) < ORDER.index(own), f"{path}: imports {module}"


def test_only_the_field_tasks_and_the_command_line_import_the_paper():
    importers = {
        own_place(path)
        for path in SOURCES
        if any(top_level(m) == "paper" for m in imported(ast.parse(path.read_text())))
    }
    assert importers <= {"cli", "field", "paper"}


def test_the_mathematics_knows_nothing_of_networks_or_pixels():
    for name in ("topk", "windows", "schedules.py"):
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            assert "torch.nn" not in file.read_text(), f"{file} uses networks"


def test_every_module_has_a_docstring_that_says_what_it_is():
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
