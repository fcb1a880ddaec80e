"""A module imports only from its own floor's folder or from lower floors."""

import ast
from pathlib import Path

import pytest

import foveal

ROOT = Path(foveal.__file__).parent
FLOORS = {
    "errors": 0,
    "topk": 0,
    "threads": 0,
    "processes": 0,
    "_native": 0,
    "windows": 0,
    "schedules": 0,
    "torchvision_compat": 0,
    "images": 1,
    "patches": 1,
    "nn": 2,
    "prediction": 2,
    "models": 3,
    "answers": 4,
    "objectives": 4,
    "batches": 4,
    "data": 4,
    "collapse": 4,
    "evaluation": 4,
    "checkpoints": 4,
    "training": 4,
    "recipes": 5,
}
TOP = 6


def place(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(tree: ast.AST) -> list[str]:
    """Every foveal module named in an import, also inside functions, but not for type checkers."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith("foveal.")]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "foveal":
            names += [f"foveal.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("foveal."):
            names.append(str(node.module))
    return names


SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_floors(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imported(ast.parse(path.read_text())):
        other = place(module)
        if other != own and not other.startswith("__"):
            assert FLOORS.get(other, TOP) <= FLOORS.get(own, TOP), f"{path}: imports {module}"


def test_the_lower_floors_know_nothing_of_networks_or_pixels():
    for name in ("topk", "windows", "schedules.py"):
        path = ROOT / name
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        for file in files:
            text = file.read_text()
            assert "torch.nn" not in text, f"{file} uses networks"


def test_every_module_has_a_docstring_that_says_what_it_is():
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
