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
    run: Path,
    images: list[str] | None = None,
    /,
    *,
    output: Path,
    most: int = 200,
    looks: bool = False,
) -> int:
    """Show where the model looked, on one HTML page that opens without a server.

    Beside the page is windows.geojson, the windows in pixels of the images, for QuPath and QGIS.

    Args:
        run: folder of the run, as printed by foveal train, or hf-hub:org/name.
        images: files, folders, glob patterns, URLs or labelled CSVs (default: the run's test
            images).
        output: folder of the page.
        most: largest number of test images, evenly spaced; the figures on the page are those of
            all test images. Given images are all explained.
        looks: measure too whether the looks matter, as foveal evaluate --looks does, on the test
            images or on one labelled folder or CSV.
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
    if looks and asked.dataset is None:
        raise UserError("--looks takes true labels: name no images, or one labelled folder or CSV")
    seen = [model.look(each) for each in track(asked.inputs, "explaining", len(asked.inputs))]
    written = write_page(
        output,
        [_card(look) for look in seen],
        title=f"{run.name}: {len(seen)} images{asked.of_how_many}",
        summary=_summary(model, asked, seen, measure_looks=looks),
        metrics_rows=RunFolder(run).rows(),
        learning=learning(RunFolder(run), model.model, asked.inputs, seen),
    )
    content = windows_geojson(look.result for look in seen)
    write(output / "windows.geojson", content.encode("utf-8", "replace"))
    say(written)
    return status([look.result.error for look in seen])


class _Asked(NamedTuple):
    """The images to explain.

    Attributes:
        inputs: one per image.
        labelled: whether the labels of all are known.
        dataset: the one labelled data set that they are of; None if there is no such.
    """

    inputs: list["Input"]
    labelled: bool
    dataset: "Dataset | None"

    @property
    def is_sample(self) -> bool:
        """Whether the data set has more images."""
        return self.dataset is not None and len(self.inputs) < len(self.dataset)

    @property
    def of_how_many(self) -> str:
        """How many these are a sample of, for the title."""
        return f" of {len(self.dataset)}" if self.dataset is not None and self.is_sample else ""


def _list_inputs(run: "Run", images: Sequence[str] | None, most: int) -> _Asked:
    from foveal.data.folder import ImageFiles
    from foveal.evaluation import read_input

    if not images:
        own, what = run.labelled_images()
        log(*(f"{run.path}: {note}" for note in _notes(own)))
        count = min(most, len(own))
        log(f"explaining {count} of {what}" + (", evenly spaced" if count < len(own) else ""))
        indices = [index * len(own) // count for index in range(count)]
        return _Asked([read_input(own, index) for index in indices], labelled=True, dataset=own)
    sources = [_read(run, text) for text in images]
    inputs = [read_input(source, index) for source in sources for index in range(len(source))]
    labelled = [source for source in sources if isinstance(source, ImageFiles)]
    dataset = labelled[0] if len(labelled) == len(sources) == 1 else None
    return _Asked(inputs, len(labelled) == len(sources), dataset)


def _read(run: "Run", text: str) -> Any:
    """Labelled images, those that evaluate would judge, if the path is a data set; else images."""
    from foveal.images.locations import is_zarr
    from foveal.runs.inputs import list_images

    path = Path(text)
    is_folder = path.is_dir() and not is_zarr(path)
    if is_folder or path.suffix.lower() == ".csv":
        try:
            labelled, what = run.labelled_images(path)
            log(f"explaining {what}", *(f"{path}: {note}" for note in _notes(labelled)))
            return labelled
        except UserError as error:
            if not is_folder:
                raise
            log(f"shown without true labels: {error}")
    listed = list_images(text)
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


def _summary(
    run: "Run", asked: _Asked, looks: Sequence["Look"], *, measure_looks: bool
) -> dict[str, Any] | None:
    """The figures of a report; None without labels, or if no image could be read."""
    from foveal.evaluation import summarise

    if asked.dataset is not None and (asked.is_sample or measure_looks):
        log(f"evaluating all {len(asked.dataset)} images")
        return run.evaluate(asked.dataset, looks=measure_looks).summary()
    if not asked.labelled or all(look.result.error is not None for look in looks):
        return None
    pairs = [(look.result, look.hits) for look in looks]
    report = summarise(pairs, run.classes, multilabel=run.multilabel)
    return replace(report, thresholds=run.thresholds).summary()
