"""foveal plan: say what training on your own images would do, and train nothing."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from foveal._terminal import say
from foveal.cli import _recipes
from foveal.cli._console import SUCCESS, log
from foveal.cli._options import Options
from foveal.cli._parsers import Token, asks_help, new_app, run_command, split_target
from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.paper import recipes
from foveal.planning.folder import default_output, read_images
from foveal.settings import Hardware

ABOUT = """
Say what foveal train DATA would do with the same options, and train nothing.

Prints the images by class and part, their sizes and formats, copies in several parts, what is
unusual and what is left out; then the sizes of view and patches, where the pretrained weights come
from, and how long each phase takes on this machine. Where training would be refused, the last line
says why, and the exit status is 2.
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


def show(
    given: dict[str, Any],
    /,
    *,
    output: Path | None = None,
    sheet: Path | None = None,
    hardware: Hardware = Hardware(),
) -> int:
    """Print what the data are and what training on them would do.

    Args:
        given: values by option of training.
        output: folder of the run that training would make (default: runs/ and the name of the
            data); nothing is made.
        sheet: picture of training images as they are and as augmentation changes them, a PNG.
        hardware: what to train on.

    Raises:
        UserError: training would be refused, in the same words.
    """
    _describe_data(given)
    experiment = recipes.build("folder", given)

    from foveal.data.cache import decoded_bytes, plan_cache
    from foveal.models import PatchClassifier
    from foveal.phases.launch import check_hardware
    from foveal.planning import budget
    from foveal.runs.folder import RunFolder
    from foveal.training.devices import configure_fabric

    say(*_further_notes(experiment))
    check_hardware(experiment, hardware)
    RunFolder(output or default_output(given["data"], given.get("fold"))).check_new()
    assert isinstance(experiment.model, PatchClassifier)
    splits, beginning = experiment.splits(), experiment.beginning
    batch = experiment.training.optimisation.batch
    costs = budget.measure(experiment.model, splits, batch, beginning)
    expected = budget.forecast(
        costs,
        beginning,
        experiment.training.optimisation,
        images=len(splits.train),
        validation=len(splits.validation),
    )
    device = configure_fabric(hardware).device
    gigabytes, cache = decoded_bytes(splits.train) / 1e9, plan_cache(splits.train, hardware, device)
    say(f"decoded images: {gigabytes:.2g} GB, {cache}", expected)
    if (folds := given.get("folds")) is not None and given.get("fold") is None:
        say(f"{folds} folds, one after the other: about {folds * expected.total:.0f} minutes")
    if sheet is not None:
        from foveal.planning.augmentation_sheet import draw_sheet

        draw_sheet(splits.train, experiment.training.augmentation, sheet)
        log(f"augmented images: {sheet}")
    return SUCCESS


def _describe_data(given: dict[str, Any]) -> None:
    """Print what the data are, if they can be read; else training is refused for this reason."""
    from foveal.data.folder.inventory import inventory
    from foveal.planning.sizing import scarce

    asked = {name: given[name] for name in ("seed", "multilabel") if name in given}
    with suppress(ValueError):
        splits = read_images(given["data"], **asked)()
        say(*inventory(given["data"], splits, scarce(splits.train)), "")


def _further_notes(experiment: Experiment) -> list[str]:
    """What training says, but for what is already said of the data."""
    from foveal.data.folder import describe
    from foveal.data.folder.fingerprints import leaks
    from foveal.planning.sizing import scarce

    splits = experiment.splits()
    said = {describe(splits), *scarce(splits.train), *leaks(splits)}
    return [note for note in experiment.notes if note not in said]
