"""The parts of a training step, each as a function that goes forward and backward by itself."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import interpolate

from foveal.data.cache import Cache
from foveal.data.folder import read_whole
from foveal.data.loader import Batch, batches
from foveal.evaluation import evaluation_mode
from foveal.experiment import seeded
from foveal.images import sources
from foveal.models import PatchClassifier, patch_classifier
from foveal.models.view_geometry import local_maxima
from foveal.nn.encoders import encode
from foveal.objectives import classification
from foveal.paper.benchmark import clock, peak
from foveal.patches import extract
from foveal.windows import relative_centres

STEP, INFERENCE = "step", "inference"
VIEW, SCORER, SELECTION, EXTRACTION = "view", "scorer", "selection", "extraction"
ENCODER, AGGREGATION, OPTIMISER = "encoder", "aggregation and loss", "optimiser"
FILES = "loader: JPEG files, one process"

Figures = tuple[float | None, float | None]
"""Seconds, and megabytes of a GPU."""


def measure(
    device: str, repeats: int, *, batch: int, precision: str, **settings: Any
) -> dict[str, Figures]:
    """Seconds and peak memory of every part.

    Args:
        device: cpu or cuda.
        repeats: number of timed runs of each part.
        batch: number of images.
        precision: 32-true or bf16-mixed.
        settings: see `foveal.paper.benchmark.shares.shares`.

    Raises:
        ValueError: the sizes do not fit together.
    """
    kind = torch.device(device).type
    rounded = torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16-mixed")
    # Each by itself: autocast keeps rounded weights, those without a gradient, too.
    parts = {name: rounded(run) for name, run in variants(device, rounded, batch, **settings)}
    megabytes: dict[str, float | None] = dict.fromkeys(parts)
    fitting = dict(parts)
    for name, run in parts.items():
        if device == "cpu":
            run()
        elif (size := peak.on_device(run, device)) is None:
            del fitting[name]
        else:
            megabytes[name] = size / 1e6
    seconds = clock.interleaved(fitting, repeats, device)
    with TemporaryDirectory(prefix="foveal-") as folder:
        reading = {FILES: partial(next, written(Path(folder), batch, settings["image"]))}
        reading[FILES]()
        seconds |= clock.interleaved(reading, repeats, device)
    return {name: (seconds.get(name), megabytes.get(name)) for name in (*parts, FILES)}


def variants(
    device: str,
    rounded: torch.autocast,
    batch: int,
    *,
    image: tuple[int, int],
    view: tuple[int, int],
    patch: int,
    k: int,
    classes: int,
    encoder: str,
    encoder_stage: int,
    zoom: float,
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The step, an inference, and the parts of the step, in the order of the forward pass.

    All are to be run in the context `rounded`.
    """
    with seeded(0):
        model = patch_classifier(
            encoder,
            classes=classes,
            view=view,
            patch=patch,
            k=k,
            encoder_stage=encoder_stage,
            zoom=zoom,
            scorer=encoder,
            freeze_scorer=True,
            scorer_width=64,
            apart=2,
            aggregator="vote",
        )
    model.to(device).train()
    source = torch.Generator().manual_seed(0)
    shape = (batch, 3, *image)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=source).to(device)
    labels = torch.randint(classes, (batch,), generator=source).to(device)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4)

    def step() -> Tensor:
        optimiser.zero_grad()
        prediction = model(images)
        classification(prediction, labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        logits: Tensor = prediction.logits.detach()
        return logits

    def answer() -> Tensor:
        with evaluation_mode(model):
            logits: Tensor = model(images).logits
        return logits

    yield STEP, step
    yield INFERENCE, answer
    with rounded:
        step()  # or the optimiser alone would have no gradients
    with rounded, torch.no_grad():
        parts = _parts(model, images, labels)
    yield from parts.items()
    yield OPTIMISER, optimiser.step


def _parts(
    model: PatchClassifier, images: Tensor, labels: Tensor
) -> Mapping[str, Callable[[], Any]]:
    """What `PatchClassifier.forward` does, piece by piece; each begins with what is before it."""
    whole, size = sources(images, model.channels), model.patch
    windows, _ = model.geometry.windows(whole, images.device)
    sides = model.geometry.sides(whole, images.device)
    centres = relative_centres(windows, [image.size for image in whole])

    def look() -> Tensor:
        return model.geometry.views(whole, images.device)

    def select(scores: Tensor) -> Any:
        return model.select(model.normalise(local_maxima(scores, model.grid, model.apart)))

    views = look()
    scores = model.scorer(views).flatten(1)
    selection = select(scores)
    patches = extract(whole, windows, selection, size, sides=sides)
    features = encode(model.encoder, patches)

    def join(leaf: Tensor) -> Tensor:
        logits = model.head(model.aggregate(leaf, selection, centres))
        return torch.nn.functional.cross_entropy(logits.float(), labels)

    def cut(leaf: Tensor) -> Tensor:
        looks = type(selection)(selection.candidates, leaf)
        return extract(whole, windows, looks, size, sides=sides)

    def there_and_back(part: Callable[[Tensor], Tensor], start: Tensor) -> None:
        result = part(start.detach().clone().requires_grad_())
        result.backward(torch.ones_like(result))  # type: ignore[no-untyped-call]

    back = {
        SCORER: (lambda leaf: model.scorer(leaf.detach()).flatten(1), views),
        SELECTION: (lambda leaf: select(leaf).weights, scores),
        EXTRACTION: (cut, selection.weights),
        ENCODER: (lambda leaf: encode(model.encoder, leaf), patches),
        AGGREGATION: (join, features),
    }
    runs = {name: partial(there_and_back, *each) for name, each in back.items()}
    return {VIEW: look, **runs}


def written(folder: Path, count: int, size: tuple[int, int]) -> Iterator[Batch]:
    """Batches of JPEG files of two classes, decoded again for every batch."""
    source = torch.Generator().manual_seed(0)
    for number in range(max(2, count)):
        coarse = torch.rand(1, 3, size[0] // 8, size[1] // 8, generator=source)
        pixels = (255 * interpolate(coarse, size, mode="bilinear")[0]).byte()
        file = folder / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Pillow.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, quality=90)
    return batches(read_whole(folder), size=count, seed=0, steps=2**20, cache=Cache(memory=0))
