"""The folder of a run while it is written: by one process at a time, which outlives no lock.

A run has begun once recipe.yaml is there, which is written last of what going on with it needs. A
folder without it that holds nothing but its beginning is cleared when the run is begun again.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foveal._files import check_no_links, remove
from foveal._locks import held_folder
from foveal._processes import is_rank_zero
from foveal.runs.folder import RunFolder


@contextmanager
def new_run(path: str | Path) -> Iterator[RunFolder]:
    """Make the folder of a new run and hold it; if the run never begins, it is removed again.

    Processes of a distributed run other than rank zero neither check nor write.

    Raises:
        UserError: the folder exists and is not empty, another process writes into it, or it cannot
            be made.
    """
    run = RunFolder(path)
    if not is_rank_zero():
        yield run
        return
    run.check_new()
    run.make()
    with held_folder(run.path):
        try:
            yield RunFolder.create(path)
        except BaseException:
            if not run.recipe_file.is_file():
                shutil.rmtree(run.path, ignore_errors=True)
            raise


@contextmanager
def earlier_run(path: str | Path) -> Iterator[RunFolder]:
    """Hold the folder of an earlier run, to go on with it; what was being written is tidied up.

    Raises:
        UserError: there is no run, another process writes into its folder, there are links in it,
            or it cannot be written.
    """
    run = RunFolder.open(path)
    if not is_rank_zero():
        yield run
        return
    check_no_links(run.path)
    with held_folder(run.path):
        _tidy(run.path)
        yield run


def _tidy(folder: Path) -> None:
    """Remove what a killed process left half written or half moved; a whole checkpoint is kept."""
    inside = [folder / name for name in ("checkpoints", "phases")]
    for old in [each for place in inside for each in place.rglob(".*.old")]:
        place = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if place.exists():
            remove(old)
        else:
            old.rename(place)
    for new in [*folder.glob(".*.new"), *(n for place in inside for n in place.rglob(".*.new"))]:
        remove(new)
