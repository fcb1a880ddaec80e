"""foveal recipes: the experiments of the paper, by name."""

from foveal.cli import _recipes
from foveal.cli._console import SUCCESS
from foveal.paper.recipes import facts, find


def recipes() -> int:
    """List the recipes, with their time and result."""
    width = max(map(len, _recipes.NAMES)) + 2
    for name in _recipes.NAMES:
        known = facts(find(name))
        details = [f"{key}: {known[key]}" for key in ("time", "ours") if key in known]
        print(f"{name:<{width}}{'; '.join([known['what'].rstrip('.'), *details])}")
    return SUCCESS
