"""foveal explain: a page of pictures that show where the model looked."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.cli._console import best_device, log, status, track
from foveal.errors import UserError

if TYPE_CHECKING:
    from foveal.evaluation.inference import Task
    from foveal.report.looks import Look
    from foveal.report.page import Entry
    from foveal.runs import Run


def explain(
    run: Path, images: list[Path] | None = None, /, *, output: Path, most: int = 200
) -> int:
    """Show where the model looked, on one HTML page that opens without a server.

    Args:
        run: folder of the run, as printed by foveal train.
        images: files, folders, glob patterns or labelled CSVs (default: the run's test images).
        output: folder of the page.
        most: largest number of test images; given images are all explained.
    """
    from foveal.report import page
    from foveal.runs import load
    from foveal.runs.folder import RunFolder

    model = load(run, device=best_device())
    tasks, labelled = _list_tasks(model, images, most)
    looks = [model.look(task) for task in track(tasks, "explaining", len(tasks))]
    written = page.write(
        output,
        [_entry(look) for look in looks],
        title=f"{run.name}: {len(looks)} images",
        summary=_summary(model, looks) if labelled else None,
        metrics_rows=RunFolder(run).rows(),
    )
    print(written)
    return status([look.result.error for look in looks])


def _list_tasks(run: "Run", images: Sequence[Path] | None, most: int) -> tuple[list["Task"], bool]:
    """The images to explain, and whether the labels of all are known."""
    from foveal.data.folder import ImageFiles
    from foveal.evaluation.inference import task

    if not images:
        dataset, what = run.labelled_images()
        count = min(most, len(dataset))
        log(f"explaining {count} of {what}")
        return [task(dataset, index) for index in range(count)], True
    sources = [_read(run, path) for path in images]
    tasks = [task(source, index) for source in sources for index in range(len(source))]
    return tasks, all(isinstance(source, ImageFiles) for source in sources)


def _read(run: "Run", path: Path) -> Any:
    """Labelled images if the path is a labelled data set, else images."""
    from foveal.runs.run import list_images

    if path.is_dir() or path.suffix.lower() == ".csv":
        try:
            return run.read(path)
        except UserError as error:
            if not path.is_dir():
                raise
            log(f"shown without true labels: {error}")
    return list_images(path)


def _entry(look: "Look") -> "Entry":
    from foveal.data.labels import text
    from foveal.report.page import Entry

    result = look.result
    png = io.BytesIO()
    if look.picture is not None:
        look.picture.save(png, "PNG")
    return Entry(
        file=result.file,
        picture=png.getvalue(),
        label=text(result.label),
        probability=result.probability,
        truth=None if result.truth is None else text(result.truth),
        correct=None if result.truth is None else result.label == result.truth,
        error=result.error,
        hit=None if look.hits is None else look.hits.some,
    )


def _summary(run: "Run", looks: Sequence["Look"]) -> dict[str, Any] | None:
    """The figures of a report; None if no image could be read."""
    from foveal.evaluation.metrics import report

    if all(look.result.error is not None for look in looks):
        return None
    pairs = [(look.result, look.hits) for look in looks]
    return report(pairs, run.classes, multilabel=run.multilabel).summary()
