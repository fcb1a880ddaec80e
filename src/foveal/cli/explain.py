"""foveal explain: a page of pictures that show where the model looked."""

import io
from pathlib import Path
from typing import NamedTuple

from foveal.cli.common import labelled, loaded, own, say, status, tracked
from foveal.data.folder import ImageFiles
from foveal.data.labels import text
from foveal.errors import UserError
from foveal.evaluation import Hits, Input, Result, predict_inputs, read_input, summarise
from foveal.prediction import Prediction
from foveal.report import explanation
from foveal.report import page as report
from foveal.runs import run as runs
from foveal.runs.folder import RunFolder
from foveal.runs.run import Run


def explain(run_path: str, images: list[str], *, output: str, most: int) -> int:
    """Write a page of pictures: what the model saw in every image, and what it made of it.

    Args:
        run_path: the run.
        images: files, folders or tables; none: the images that the run is judged by.
        output: folder of the page.
        most: how many of the run's own images.
    """
    run = loaded(run_path)
    sets = run.experiment.multilabel
    if images:
        sources = [_source(run, Path(path)) for path in images]
        tasks = [read_input(source, index) for source in sources for index in range(len(source))]
        known = all(isinstance(source, ImageFiles) for source in sources)
    else:
        dataset, what = own(run.experiment)
        say(f"explaining {min(most, len(dataset))} of {what}")
        tasks = [read_input(dataset, index) for index in range(min(most, len(dataset)))]
        known = True
    looks = [_look(run, each) for each in tracked(tasks, "explaining", len(tasks))]
    readable = any(look.result.error is None for look in looks)
    summary = (
        summarise(
            [(look.result, look.hits) for look in looks], run.classes, multilabel=sets
        ).summary()
        if known and readable
        else None
    )
    page = report.write(
        output,
        [look.entry() for look in looks],
        title=f"{run.path.name}: {len(looks)} images",
        summary=summary,
        metrics_rows=RunFolder(run.path).rows(),
    )
    print(page)
    return status([look.result.error for look in looks])


class _Look(NamedTuple):
    """What is shown of one image: a PNG file, empty where the image could not be read."""

    result: Result
    picture: bytes
    hits: Hits | None

    def entry(self) -> report.Entry:
        result = self.result
        return report.Entry(
            file=result.file,
            picture=self.picture,
            label=text(result.label),
            probability=result.probability,
            truth=None if result.truth is None else text(result.truth),
            correct=None if result.truth is None else result.label == result.truth,
            error=result.error,
            hit=None if self.hits is None else self.hits.some,
        )


def _look(run: Run, asked: Input) -> _Look:
    seen: list[Prediction] = []
    sets = run.experiment.multilabel
    ((result, hits),) = predict_inputs(
        run.model, [asked], run.classes, 1, lambda p, _: seen.append(p), multilabel=sets
    )
    if not seen or asked.image is None:
        return _Look(result, b"", None)
    drawn = io.BytesIO()
    explanation(
        asked.image,
        seen[0],
        classes=run.classes,
        multilabel=sets,
        truth=result.truth,
        boxes=asked.boxes,
        file=result.file,
    ).save(drawn, "PNG")
    return _Look(result, drawn.getvalue(), hits)


def _source(run: Run, path: Path) -> ImageFiles | runs.Images:
    """Images with their labels where the path is a labelled data set, else without."""
    if path.is_dir() or path.suffix.lower() == ".csv":
        try:
            return labelled(run, path)
        except UserError as error:
            if not path.is_dir():
                raise
            say(f"shown without true labels: {error}")
    return runs.gathered(path)
