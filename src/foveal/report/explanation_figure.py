"""The picture that explains one prediction: score map, chosen windows, and the K patches.

The left side shows the whole image with its score map and the K windows, the right side the patches
at full resolution. Sizes of what is drawn are (width, height), as in Pillow; sizes of images and
windows are (height, width).
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
    BOX,
    CAPTION,
    GAP,
    INK,
    LONGEST,
    MARGIN,
    PAPER,
    QUIET,
    WIDTH,
    WINDOW,
    Rectangle,
    edged,
    enlarged,
    fitted,
    free_place,
    in_picture,
    outline,
    plain,
    rgb,
    typeface,
)
from foveal.report.heat import overlay, score_map


class _Patch(NamedTuple):
    """One patch: number from 1, window, score or weight in [0, 1], pixels, what it is called."""

    number: int
    window: tuple[float, float, float, float]
    value: float
    pixels: Pillow.Image
    caption: str


def explanation(
    image: Image,
    prediction: Prediction,
    *,
    classes: Sequence[str],
    truth: int | LabelName | None = None,
    multilabel: bool = False,
    boxes: Int[Tensor, "n 4"] | None = None,
    file: str = "",
    votes: Sequence[tuple[str, float]] | None = None,
) -> Pillow.Image:
    """Draw the prediction for one image, and where the model looked.

    Every patch has a number in [0, 1]: with a hard selection the score of its window, min-max
    normalised over the windows inside the image; with a soft one its largest weight.

    Args:
        image: the image.
        prediction: the prediction for this image, a batch of 1.
        classes: name of each logit.
        truth: class number or class name; multi-label: the names in the order of `classes`; None
            if unknown.
        multilabel: whether a label is a set of classes.
        boxes: where the evidence is, top left bottom right in pixels of the image; drawn dashed.
        file: name of the image.
        votes: the class that each patch votes for, and its probability; None: patches do not vote.

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
    patches, word = _patches(prediction, windows, shares, votes)
    if inside.any():
        heat = score_map(shares[inside], windows[inside], image.size, overview.size[::-1])
        overview = overlay(overview, heat)
    scale = (overview.height / image.size[0], overview.width / image.size[1])
    drawn = [] if boxes is None else [in_picture(box, scale) for box in boxes.tolist()]
    _draw_windows(edged(overview), patches, [in_picture(p.window, scale) for p in patches], drawn)

    below = overview.width > 2.2 * overview.height
    beside = max(WIDTH - overview.width - GAP, round(0.6 * overview.width))
    room = (max(WIDTH, overview.width), 420) if below else (beside, max(overview.height, 420))
    tiles = _tiles(patches, *room)
    width = max(WIDTH, tiles.width, overview.width + (0 if below else GAP + tiles.width))
    known_as = classes[truth] if isinstance(truth, int) else truth
    each = _probabilities(prediction, classes, multilabel=multilabel)
    top = header(decode(each, multilabel=multilabel), each, known_as, file, width)
    bottom = legend(low, high, word, boxes=bool(drawn), votes=votes is not None, width=width)
    return _sheet(top, overview, tiles, bottom, below=below)


def _check(prediction: Prediction, classes: Sequence[str]) -> None:
    batch, logits = prediction.logits.shape
    if batch != 1:
        raise ValueError(f"an explanation is of one image: got a prediction of {batch}; split it")
    if logits != len(classes):
        raise ValueError(f"every logit needs a class name: got {len(classes)} for {logits} logits")


def _inside(scores: Tensor, windows: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The windows that can be drawn: a finite score, and a centre inside the image."""
    centres = (windows[:, :2] + windows[:, 2:]) / 2
    height, width = image_size
    held = (centres >= 0).all(1) & (centres[:, 0] <= height) & (centres[:, 1] <= width)
    return scores.isfinite() & held


def _probabilities(
    prediction: Prediction, classes: Sequence[str], *, multilabel: bool
) -> dict[str, float]:
    logits = prediction.logits.detach().double().cpu()
    return dict(zip(classes, probabilities(logits, multilabel=multilabel)[0].tolist(), strict=True))


def _patches(
    prediction: Prediction,
    windows: Tensor,
    scores: Tensor,
    votes: Sequence[tuple[str, float]] | None,
) -> tuple[list[_Patch], str]:
    """The K patches, and the word for their values."""
    weights = prediction.selection.dense(len(windows))[0].detach().double().cpu()  # (K, N)
    largest, chosen = weights.max(dim=1)
    hard = bool((largest > 1 - 1e-6).all())
    values = (scores[chosen] if hard else largest).tolist()
    word = "score" if hard else "weight"
    captions = [f"{word} {value:.2f}" for value in values]
    if votes is not None:
        captions = [f"{share:.0%} {plain(name)}" for name, share in votes]
    pixels = map(rgb, prediction.patches[0].detach())
    each = zip(windows[chosen].tolist(), values, pixels, captions, strict=True)
    return [_Patch(k, tuple(w), v, p, c) for k, (w, v, p, c) in enumerate(each, start=1)], word


def _whole(image: Image) -> Pillow.Image:
    """The image with a longer side of at most 1000 px; a small one is enlarged to about 600 px."""
    height, width = image.size
    scale = min(1.0, LONGEST / max(height, width))
    seen = rgb(image.view((max(1, round(height * scale)), max(1, round(width * scale)))))
    times = max(1, 600 // max(seen.size))
    return enlarged(seen, (seen.width * times, seen.height * times))


def _draw_windows(
    picture: Pillow.Image,
    patches: Sequence[_Patch],
    frames: Sequence[Rectangle],
    boxes: Sequence[Rectangle],
) -> None:
    """Draw the windows, each with a plate of its number and value, and the boxes."""
    draw, font = ImageDraw.Draw(picture), typeface(15, bold=True)
    outline(draw, frames, WINDOW)
    outline(draw, boxes, BOX, dash=9)
    plates: list[Rectangle] = []
    for patch, frame in zip(patches, frames, strict=True):
        size = (math.ceil(font.getlength(_words(patch))) + 12, 23)
        plates.append(free_place(frame, size, picture.size, plates, [*frames, *boxes]))
    # All lines first, so that none crosses a plate.
    for frame, (left, top, right, bottom) in zip(frames, plates, strict=True):
        middle = ((left + right) // 2, (top + bottom) // 2)
        nearest = tuple(min(max(middle[i], frame[i]), frame[i + 2]) for i in (0, 1))
        draw.line([middle, nearest], fill=INK, width=4)
        draw.line([middle, nearest], fill=WINDOW, width=2)
    for patch, plate in zip(patches, plates, strict=True):
        draw.rounded_rectangle(plate, 5, fill=INK, outline=WINDOW)
        start = (plate[0] + 6, (plate[1] + plate[3]) // 2)
        draw.text(start, _words(patch), PAPER, font, anchor="lm")


def _words(patch: _Patch) -> str:
    return f"{patch.number}  {patch.value:.2f}"


def _tiles(patches: Sequence[_Patch], width: int, height: float) -> Pillow.Image:
    """The K patches in order, as large as fits into a width and a height in pixels."""
    pixels = patches[0].pixels

    def growth(columns: int) -> float:
        rows = math.ceil(len(patches) / columns)
        wide = min(260.0, (width + GAP) / columns - GAP)
        tall = min(260.0, (height + GAP) / rows - CAPTION - GAP)
        return min(wide / pixels.width, tall / pixels.height)

    # Captions need 112 px, which limits the columns.
    most = max(1, min(len(patches), (width + GAP) // (112 + GAP)))
    columns = max(range(1, most + 1), key=growth)
    grow = max(growth(columns), 48 / max(pixels.size))
    tile = (max(1, round(pixels.width * grow)), max(1, round(pixels.height * grow)))
    cell = (max(tile[0], 112) + GAP, tile[1] + CAPTION + GAP)
    rows = math.ceil(len(patches) / columns)
    sheet = Pillow.new("RGB", (columns * cell[0] - GAP, rows * cell[1] - GAP), PAPER)
    draw, bold = ImageDraw.Draw(sheet), typeface(15, bold=True)
    for place, patch in enumerate(patches):
        x, y = place % columns * cell[0], place // columns * cell[1]
        plate = (x, y, x + math.ceil(bold.getlength(str(patch.number))) + 13, y + 23)
        draw.rounded_rectangle(plate, 5, fill=INK)
        draw.text(((plate[0] + plate[2]) // 2, y + 12), str(patch.number), PAPER, bold, anchor="mm")
        text = fitted(patch.caption, typeface(14), x + max(tile[0], 112) - plate[2] - 7)
        draw.text((plate[2] + 7, y + 12), text, QUIET, typeface(14), anchor="lm")
        sheet.paste(edged(enlarged(patch.pixels, tile)), (x, y + CAPTION))
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
