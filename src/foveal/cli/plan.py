"""foveal plan: say what training on your own images would do, and train nothing."""

from pathlib import Path
from typing import Any

from foveal.cli import _recipes
from foveal.cli._console import SUCCESS, log
from foveal.cli._options import Options
from foveal.cli._parsers import Token, asks_help, new_app, run_command, split_target
from foveal.errors import UserError
from foveal.paper import recipes

ABOUT = """
Say what foveal train DATA would do with the same options, and train nothing.

Prints the images by class and part, the sizes of view and patches, where the pretrained weights
come from, and how long each phase takes on this machine.
"""


def plan(*tokens: Token) -> int:
    """Say what training on your own images would do, and train nothing."""
    target, rest = split_target(tokens)
    if target is None and not asks_help(rest):
        raise UserError("name your data: foveal plan DATA")
    recipe, ours = Options(recipes.find("folder"), without=("data",)), Options(show)
    parser = new_app(f"plan {target or ''}", ABOUT, usage=f"plan {target or 'DATA'} [OPTIONS]")

    def start(given: dict[str, Any]) -> int:
        name, data = _recipes.resolve(str(target))
        if name != "folder" or data is None:
            raise UserError(f"{target} is a recipe: plan is for your own images, a folder or CSV")
        return show({**recipe.select(given), "data": data}, **ours.group(given))

    return run_command(parser, start, [*recipe.parameters, *ours.parameters], rest)


def show(given: dict[str, Any], /, *, sheet: Path | None = None) -> int:
    """Print the plan.

    Args:
        given: values by option of training.
        sheet: picture of training images as they are and as augmentation changes them, a PNG.
    """
    experiment = recipes.build("folder", given)

    from foveal.models import PatchClassifier
    from foveal.planning import budget

    for note in experiment.notes:
        print(note)
    assert isinstance(experiment.model, PatchClassifier)
    splits, beginning = experiment.splits(), experiment.beginning
    costs = budget.measure(experiment.model, splits, begins=beginning is not None)
    counts = {"images": len(splits.train), "validation": len(splits.validation)}
    expected = budget.forecast(costs, beginning, experiment.training.optimisation, **counts)
    print(expected)
    if (folds := given.get("folds")) is not None and given.get("fold") is None:
        print(f"{folds} folds, one after the other: about {folds * expected.total:.0f} minutes")
    if sheet is not None:
        from foveal.planning.augmentation_sheet import draw_sheet

        draw_sheet(splits.train, experiment.training.augmentation, sheet)
        log(f"augmented images: {sheet}")
    return SUCCESS
