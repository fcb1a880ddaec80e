"""Pictures of where a model looked, and of how its training went.

An explanation shows one image: on the left all of it under its score map, with the windows the K
slots looked at; on the right the K close looks themselves. Sizes in pixels of the picture that is
drawn are (width, height) where Pillow wants them so; everything else is (height, width).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor

from foveal.data.labels import LabelName, decode, probabilities
from foveal.images import Image
from foveal.prediction import Prediction
from foveal.report.captions import header, legend
from foveal.report.drawing import (
    CAPTION,
    EVIDENCE,
    GAP,
    INK,
    LONGEST,
    LOOK,
    MARGIN,
    PAPER,
    QUIET,
    WIDTH,
    Box,
    edged,
    enlarged,
    free_place,
    outline,
    rgb,
    typeface,
)
from foveal.report.heat import overlay, score_map


class Look(NamedTuple):
    """What one slot looked at: its number from 1, the window, a share in [0, 1], the patch."""

    number: int
    window: tuple[float, float, float, float]
    share: float
    patch: Pillow.Image


def explanation(
    image: Image,
    prediction: Prediction,
    *,
    classes: Sequence[str],
    truth: int | LabelName | None = None,
    multilabel: bool = False,
    boxes: Int[Tensor, "n 4"] | None = None,
    file: str = "",
) -> Pillow.Image:
    """One picture of what the model saw in one image, and what it made of it.

    Beside each slot stands a number in [0, 1]: for a hard selection the score of its window,
    min-max normalised over the windows inside the image; for a soft one the slot's largest weight.

    Args:
        image: the image the prediction is about.
        prediction: of this image alone, a batch of 1.
        classes: the name of each logit.
        truth: class number or class name, or the names of a set in the order of `classes`; None
            where nobody knows.
        multilabel: whether the answer is a set of classes.
        boxes: evidence, top left bottom right in pixels of the image; drawn dashed.
        file: the name people know the image by.

    Returns:
        An RGB picture, at least 760 pixels wide.

    Raises:
        ValueError: the batch is not 1, or there are not as many class names as logits.
    """
    _check(prediction, classes)
    windows = prediction.windows.reshape(-1, 4).cpu()  # (N, 4)
    scores = prediction.scores[0].detach().double().cpu()  # (N,)
    inside = _inside(scores, windows, image.size)
    known = scores[inside] if inside.any() else torch.zeros(1, dtype=scores.dtype)
    low, high = float(known.min()), float(known.max())
    shares = ((scores - low) / ((high - low) or 1.0)).nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)

    overview = _whole(image)
    looks, word = _looks(prediction, windows, shares)
    if inside.any():
        heat = score_map(shares[inside], windows[inside], image.size, overview.size[::-1])
        overview = overlay(overview, heat)
    scale = (overview.height / image.size[0], overview.width / image.size[1])
    evidence = [] if boxes is None else [_scaled(box, scale) for box in boxes.tolist()]
    _draw_windows(edged(overview), looks, [_scaled(k.window, scale) for k in looks], evidence)

    below = overview.width > 2.2 * overview.height
    beside = max(WIDTH - overview.width - GAP, round(0.6 * overview.width))
    room = (max(WIDTH, overview.width), 420) if below else (beside, max(overview.height, 420))
    tiles = _tiles(looks, word, *room)
    width = max(WIDTH, tiles.width, overview.width + (0 if below else GAP + tiles.width))
    known_as = classes[truth] if isinstance(truth, int) else truth
    each = _probabilities(prediction, classes, multilabel=multilabel)
    top = header(decode(each, multilabel=multilabel), each, known_as, file, width)
    bottom = legend(low, high, word, evidence=bool(evidence), width=width)
    return _sheet(top, overview, tiles, bottom, below=below)


def _check(prediction: Prediction, classes: Sequence[str]) -> None:
    batch, logits = prediction.logits.shape
    if batch != 1:
        raise ValueError(f"an explanation is of one image: got a prediction of {batch}; split it")
    if logits != len(classes):
        raise ValueError(f"every logit needs a class name: got {len(classes)} for {logits} logits")


def _inside(scores: Tensor, windows: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The windows that can be shown: a finite score, and a centre inside the image."""
    centres = (windows[:, :2] + windows[:, 2:]) / 2
    height, width = image_size
    held = (centres >= 0).all(1) & (centres[:, 0] <= height) & (centres[:, 1] <= width)
    return scores.isfinite() & held


def _probabilities(
    prediction: Prediction, classes: Sequence[str], *, multilabel: bool
) -> dict[str, float]:
    logits = prediction.logits.detach().double().cpu()
    return dict(zip(classes, probabilities(logits, multilabel=multilabel)[0].tolist(), strict=True))


def _looks(prediction: Prediction, windows: Tensor, shares: Tensor) -> tuple[list[Look], str]:
    """Every slot's look, and the word for its share."""
    weights = prediction.selection.dense(len(windows))[0].detach().double().cpu()  # (K, N)
    largest, chosen = weights.max(dim=1)
    hard = bool((largest > 1 - 1e-6).all())
    numbers = shares[chosen] if hard else largest
    looks = [
        Look(slot + 1, tuple(windows[chosen[slot]].tolist()), float(numbers[slot]), rgb(patch))
        for slot, patch in enumerate(prediction.patches[0].detach())
    ]
    return looks, "score" if hard else "weight"


def _whole(image: Image) -> Pillow.Image:
    """The image, its longer side at most 1000 pixels; a small one enlarged to about 600."""
    height, width = image.size
    scale = min(1.0, LONGEST / max(height, width))
    seen = rgb(image.view((max(1, round(height * scale)), max(1, round(width * scale)))))
    times = max(1, 600 // max(seen.size))
    return enlarged(seen, (seen.width * times, seen.height * times))


def _scaled(box: Sequence[float], scale: tuple[float, float]) -> Box:
    """Top left bottom right of the image as left top right bottom of the picture, end included."""
    top, left, bottom, right = box
    (y, x) = scale
    return round(left * x), round(top * y), round(right * x) - 1, round(bottom * y) - 1


def _draw_windows(
    picture: Pillow.Image, looks: Sequence[Look], frames: Sequence[Box], evidence: Sequence[Box]
) -> None:
    """The windows with a chip each, number and share, and the evidence."""
    draw, font = ImageDraw.Draw(picture), typeface(15, bold=True)
    outline(draw, frames, LOOK)
    outline(draw, evidence, EVIDENCE, dash=9)
    chips: list[Box] = []
    for look, frame in zip(looks, frames, strict=True):
        size = (math.ceil(font.getlength(_words(look))) + 12, 23)
        chips.append(free_place(frame, size, picture.size, chips, [*frames, *evidence]))
    # All the lines first, so that none crosses out a chip.
    for frame, (left, top, right, bottom) in zip(frames, chips, strict=True):
        middle = ((left + right) // 2, (top + bottom) // 2)
        nearest = tuple(min(max(middle[i], frame[i]), frame[i + 2]) for i in (0, 1))
        draw.line([middle, nearest], fill=INK, width=4)
        draw.line([middle, nearest], fill=LOOK, width=2)
    for look, chip in zip(looks, chips, strict=True):
        draw.rounded_rectangle(chip, 5, fill=INK, outline=LOOK)
        draw.text((chip[0] + 6, (chip[1] + chip[3]) // 2), _words(look), PAPER, font, anchor="lm")


def _words(look: Look) -> str:
    return f"{look.number}  {look.share:.2f}"


def _tiles(looks: Sequence[Look], word: str, width: int, height: float) -> Pillow.Image:
    """The K patches in order, as large as a width and a height (pixels) let them be."""
    patch = looks[0].patch

    def growth(columns: int) -> float:
        rows = math.ceil(len(looks) / columns)
        wide = min(260.0, (width + GAP) / columns - GAP)
        tall = min(260.0, (height + GAP) / rows - CAPTION - GAP)
        return min(wide / patch.width, tall / patch.height)

    # Captions need 112 pixels, so there is a limit to the columns.
    most = max(1, min(len(looks), (width + GAP) // (112 + GAP)))
    columns = max(range(1, most + 1), key=growth)
    grow = max(growth(columns), 48 / max(patch.size))
    tile = (max(1, round(patch.width * grow)), max(1, round(patch.height * grow)))
    cell = (max(tile[0], 112) + GAP, tile[1] + CAPTION + GAP)
    rows = math.ceil(len(looks) / columns)
    sheet = Pillow.new("RGB", (columns * cell[0] - GAP, rows * cell[1] - GAP), PAPER)
    draw, bold = ImageDraw.Draw(sheet), typeface(15, bold=True)
    for place, look in enumerate(looks):
        x, y = place % columns * cell[0], place // columns * cell[1]
        chip = (x, y, x + math.ceil(bold.getlength(str(look.number))) + 13, y + 23)
        draw.rounded_rectangle(chip, 5, fill=INK)
        draw.text(((chip[0] + chip[2]) // 2, y + 12), str(look.number), PAPER, bold, anchor="mm")
        draw.text(
            (chip[2] + 7, y + 12), f"{word} {look.share:.2f}", QUIET, typeface(14), anchor="lm"
        )
        sheet.paste(edged(enlarged(look.patch, tile)), (x, y + CAPTION))
    return sheet


def _sheet(
    header: Pillow.Image,
    overview: Pillow.Image,
    tiles: Pillow.Image,
    legend: Pillow.Image,
    *,
    below: bool,
) -> Pillow.Image:
    body = overview.height + GAP + tiles.height if below else max(overview.height, tiles.height)
    height = 2 * MARGIN + header.height + GAP + body + GAP + legend.height
    sheet = Pillow.new("RGB", (header.width + 2 * MARGIN, height), PAPER)
    top = MARGIN + header.height + GAP
    sheet.paste(header, (MARGIN, MARGIN))
    sheet.paste(overview, (MARGIN, top))
    beside = (
        (MARGIN, top + overview.height + GAP) if below else (MARGIN + overview.width + GAP, top)
    )
    sheet.paste(tiles, beside)
    sheet.paste(legend, (MARGIN, top + body + GAP))
    return sheet
