"""foveal explain: a page of pictures that show where the model looked."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from foveal._devices import best_device
from foveal._progress import track
from foveal._terminal import say
from foveal.cli._console import log, status
from foveal.errors import UserError

if TYPE_CHECKING:
    from foveal.data import Dataset
    from foveal.evaluation import Input
    from foveal.report.looks import Look
    from foveal.report.page import Card
    from foveal.runs import Run


def explain(
    run: Path, images: list[Path] | None = None, /, *, output: Path, most: int = 200
) -> int:
    """Show where the model looked, on one HTML page that opens without a server.

    Beside the page is windows.geojson, the windows in pixels of the images, for QuPath and QGIS.

    Args:
        run: folder of the run, as printed by foveal train.
        images: files, folders, glob patterns or labelled CSVs (default: the run's test images).
        output: folder of the page.
        most: largest number of test images, evenly spaced; the figures on the page are those of
            all test images. Given images are all explained.
    """
    from foveal._files import write
    from foveal.phases.showing import learning
    from foveal.report.geojson import windows_geojson
    from foveal.report.page import write_page
    from foveal.runs import load
    from foveal.runs.folder import RunFolder

    if most < 1:
        raise UserError(f"--most {most}: give 1 or more")
    model = load(run, device=best_device())
    asked = _list_inputs(model, images, most)
    looks = [model.look(each) for each in track(asked.inputs, "explaining", len(asked.inputs))]
    summary = None
    if asked.whole is not None:
        log(f"evaluating all {len(asked.whole)} images")
        summary = model.evaluate(asked.whole).summary()
    elif asked.labelled:
        summary = _summary(model, looks)
    shown = f"{len(looks)} images" + ("" if asked.whole is None else f" of {len(asked.whole)}")
    written = write_page(
        output,
        [_card(look) for look in looks],
        title=f"{run.name}: {shown}",
        summary=summary,
        metrics_rows=RunFolder(run).rows(),
        learning=learning(RunFolder(run), model.model, asked.inputs, looks),
    )
    content = windows_geojson(look.result for look in looks)
    write(output / "windows.geojson", content.encode("utf-8", "replace"))
    say(written)
    return status([look.result.error for look in looks])


class _Asked(NamedTuple):
    """The images to explain.

    Attributes:
        inputs: one per image.
        labelled: whether the labels of all are known.
        whole: the data set that they are a sample of; None if they are all of it.
    """

    inputs: list["Input"]
    labelled: bool
    whole: "Dataset | None" = None


def _list_inputs(run: "Run", images: Sequence[Path] | None, most: int) -> _Asked:
    from foveal.data.folder import ImageFiles
    from foveal.evaluation import read_input

    if not images:
        dataset, what = run.labelled_images()
        log(*(f"{run.path}: {note}" for note in _notes(dataset)))
        count = min(most, len(dataset))
        is_sample = count < len(dataset)
        log(f"explaining {count} of {what}" + (", evenly spaced" if is_sample else ""))
        indices = [index * len(dataset) // count for index in range(count)]
        inputs = [read_input(dataset, index) for index in indices]
        return _Asked(inputs, labelled=True, whole=dataset if is_sample else None)
    sources = [_read(run, path) for path in images]
    inputs = [read_input(source, index) for source in sources for index in range(len(source))]
    return _Asked(inputs, all(isinstance(source, ImageFiles) for source in sources))


def _read(run: "Run", path: Path) -> Any:
    """Labelled images, those that evaluate would judge, if the path is a data set; else images."""
    from foveal.runs.inputs import list_images

    if path.is_dir() or path.suffix.lower() == ".csv":
        try:
            labelled, what = run.labelled_images(path)
            log(f"explaining {what}", *(f"{path}: {note}" for note in _notes(labelled)))
            return labelled
        except UserError as error:
            if not path.is_dir():
                raise
            log(f"shown without true labels: {error}")
    listed = list_images(path)
    log(*listed.notes)
    return listed


def _notes(dataset: "Dataset") -> Sequence[str]:
    return getattr(dataset, "notes", ())


def _card(look: "Look") -> "Card":
    from foveal.data.labels import text
    from foveal.report.page import Card

    result = look.result
    png = io.BytesIO()
    if look.picture is not None:
        look.picture.save(png, "PNG")
    return Card(
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
    from foveal.evaluation import summarise

    if all(look.result.error is not None for look in looks):
        return None
    pairs = [(look.result, look.hits) for look in looks]
    report = summarise(pairs, run.classes, multilabel=run.multilabel)
    return replace(report, thresholds=run.thresholds).summary()
