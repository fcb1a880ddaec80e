"""Drawing with Pillow: fonts, frames, number plates in free places, text that fits."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

INK, QUIET, PAPER = "#1a1d21", "#5c6670", "#ffffff"
RIGHT, WRONG, WINDOW, BOX = "#0a7a3d", "#c0262d", "#ffffff", "#3df2ff"
MARGIN, GAP, CAPTION, WIDTH, LONGEST = 24, 16, 30, 760, 1000

Rectangle = tuple[int, int, int, int]
"""Left top right bottom in pixels of a picture, end included, as Pillow draws them."""


def rgb(pixels: Tensor) -> Pillow.Image:
    """A (C, h, w) tensor of floats in [0, 1] as RGB; other than 3 or 4 channels become grey."""
    colours = (
        pixels[:3] if len(pixels) in (3, 4) else pixels.mean(0, keepdim=True).expand(3, -1, -1)
    )
    array = (colours.cpu().float().nan_to_num(0).clamp(0, 1) * 255).round().byte()
    return Pillow.fromarray(np.ascontiguousarray(array.permute(1, 2, 0).numpy()), "RGB")


def in_picture(box: Sequence[float], scale: tuple[float, float]) -> Rectangle:
    """Top left bottom right of an image in its picture of this scale (vertical, horizontal)."""
    top, left, bottom, right = box
    y, x = scale
    return round(left * x), round(top * y), round(right * x) - 1, round(bottom * y) - 1


def enlarged(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """Resized to (width, height); pixels stay visible as squares if enlarged 3 times or more."""
    far = size[0] >= 3 * picture.width
    return picture.resize(size, Pillow.Resampling.NEAREST if far else Pillow.Resampling.LANCZOS)


def edged(picture: Pillow.Image) -> Pillow.Image:
    """With a thin edge, which shows the border of white pictures on white paper."""
    ImageDraw.Draw(picture).rectangle(
        (0, 0, picture.width - 1, picture.height - 1), outline="#c3c9cf"
    )
    return picture


def outline(
    draw: ImageDraw.ImageDraw, boxes: Sequence[Rectangle], colour: str, *, dash: int = 0
) -> None:
    """Rectangles with a dark halo, visible on any background; optionally dashed."""
    for left, top, right, bottom in boxes:
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=INK, width=5)
    for left, top, right, bottom in boxes:
        if not dash:
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=colour, width=3)
            continue
        for x in range(left, right, 2 * dash):
            for y in (top, bottom):
                draw.line([(x, y), (min(x + dash, right), y)], fill=colour, width=3)
        for y in range(top, bottom, 2 * dash):
            for x in (left, right):
                draw.line([(x, y), (x, min(y + dash, bottom))], fill=colour, width=3)


def free_place(
    frame: Rectangle,
    size: tuple[int, int],
    canvas: tuple[int, int],
    plates: Sequence[Rectangle],
    frames: Sequence[Rectangle],
) -> Rectangle:
    """The place near a frame where a number plate hides least of other plates and frames."""
    width, height = size
    left, top, right, bottom = frame
    found: list[tuple[float, Rectangle]] = []
    for ring in range(7):
        far = 5 + ring * (height + 4)
        for x in (
            left,
            right - width,
            left - width - far,
            right + far,
            (left + right - width) // 2,
        ):
            for y in (top, bottom - height, top - height - far, bottom + far):
                x0 = min(max(x, 2), canvas[0] - width - 3)
                y0 = min(max(y, 2), canvas[1] - height - 3)
                place = (x0, y0, x0 + width, y0 + height)
                cost = 100.0 * sum(_common(place, plate, 4) for plate in plates)
                cost += 3 * sum(_common(place, other, 2) for other in frames)
                found.append((cost + width * height * ring / 2, place))
    return min(found, key=lambda each: each[0])[1]


def _common(a: Rectangle, b: Rectangle, margin: int) -> int:
    """The area that two rectangles share, with a margin around the first."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + margin
    height = min(a[3], b[3]) - max(a[1], b[1]) + margin
    return max(0, width) * max(0, height)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, with its middle replaced by an ellipsis if it is too long."""
    if font.getlength(text) <= width:
        return text

    def cut(kept: int) -> str:
        return text[: kept // 2] + "…" + text[len(text) - (kept + 1) // 2 :]

    most = bisect_left(range(len(text)), width, key=lambda kept: font.getlength(cut(kept)))
    return cut(max(most - 1, 0))


def plain(text: str) -> str:
    """Unprintable characters replaced by ?, and at most 401 characters."""
    text = text if len(text) <= 400 else text[:200] + "…" + text[-200:]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@lru_cache
def typeface(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which is part of matplotlib, in a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
