"""Data sets of the benchmark: field tasks, written when they are needed, and tables of the user."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foveal.errors import UserError, nearest
from foveal.field import TASKS, write

SOURCES = {
    "street-prohibitory": "gtsdb",
    "street-limit": "gtsdb",
    "boards": "deeppcb",
    "screws": "bsdata",
    "digits": "mnist",
    "digits-multi": "mnist",
}
"""Folder of the source of each task that has one."""


@dataclass(frozen=True)
class TaskData:
    """A fold of a field task, or a data set that exists.

    Attributes:
        task: name of the task; of a data set, the name of its folder.
        fold: which fold is tested; 0 where there are none.
        table: CSV of a data set that exists; None: a field task.
    """

    task: str
    fold: int
    table: Path | None = None

    def check(self, sources: Path | None) -> None:
        """Refuse a task whose source is not given or absent.

        Raises:
            UserError: it is.
        """
        if self.table is None and self.task in SOURCES:
            if sources is None:
                raise UserError(
                    f"the task {self.task} needs --sources: a folder with {SOURCES[self.task]}/"
                )
            if not (sources / SOURCES[self.task]).is_dir():
                raise UserError(
                    f"{sources}: there is no folder {SOURCES[self.task]} for {self.task}"
                )

    def labels(self, folder: Path, sources: Path | None) -> Path:
        """The CSV of the data set, which is written if it does not exist.

        Args:
            folder: folder of all data sets.
            sources: folder of all sources.
        """
        if self.table is not None:
            return self.table
        own = folder / f"{self.task}-{self.fold}"
        if not (own / "labels.csv").is_file():
            options: dict[str, object] = {}
            if self.task in SOURCES and sources is not None:
                options["source"] = sources / SOURCES[self.task]
            if _has_folds(self.task):
                options["fold"] = self.fold
            write(own, TASKS[self.task](**options))
        return own / "labels.csv"


def prepare(task: str, fold: int) -> Iterator[TaskData]:
    """The data set of a task and a fold; nothing for the higher folds of a task without any.

    Raises:
        UserError: it is neither a task nor a CSV.
    """
    is_task = task in TASKS
    if not is_task and not Path(task).is_file():
        raise UserError(f"--tasks {task}: no CSV, and no task of this name: {nearest(task, TASKS)}")
    if is_task and _has_folds(task):
        yield TaskData(task, fold)
    elif fold == 0:
        table = Path(task)
        yield TaskData(task, 0) if is_task else TaskData(table.resolve().parent.name, 0, table)


def _has_folds(task: str) -> bool:
    return "fold" in inspect.signature(TASKS[task]).parameters
