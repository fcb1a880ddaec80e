"""Captions of an explanation: the prediction above it, a legend below it."""

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal.data.labels import LabelName, joint_probability, text
from foveal.report.drawing import (
    BOX,
    INK,
    PAPER,
    QUIET,
    RIGHT,
    WRONG,
    fitted,
    outline,
    plain,
    typeface,
)


def header(
    label: LabelName,
    probabilities: Mapping[str, float],
    truth: LabelName | None,
    file: str,
    width: int,
) -> Pillow.Image:
    """File name, prediction with the runners-up, and whether it is correct."""
    sheet = Pillow.new("RGB", (width, 64 if truth is None else 94), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (0, 12),
        fitted(plain(file or "image"), typeface(16), width),
        QUIET,
        typeface(16),
        anchor="lm",
    )
    line = f"{text(label)}, {joint_probability(label, probabilities):.1%}"
    line = fitted(plain(line), typeface(22, bold=True), width)
    draw.text((0, 44), line, INK, typeface(22, bold=True), anchor="lm")
    start = math.ceil(typeface(22, bold=True).getlength(line)) + 18
    others = plain(_runners_up(label, probabilities))
    if start + typeface(16).getlength(others) <= width:
        draw.text((start, 45), others, QUIET, typeface(16), anchor="lm")
    if truth is not None:
        verdict = fitted(
            plain(_verdict(label, truth, probabilities)), typeface(18, bold=True), width
        )
        colour = RIGHT if truth == label else WRONG
        draw.text((0, 76), verdict, colour, typeface(18, bold=True), anchor="lm")
    return sheet


def _runners_up(label: LabelName, probabilities: Mapping[str, float]) -> str:
    """The two most probable other classes; "" if none has more than 1%."""
    predicted = (label,) if isinstance(label, str) else label
    rest = [(share, name) for name, share in probabilities.items() if name not in predicted]
    rest.sort(key=lambda pair: -pair[0])
    others = [f"{name} ({share:.1%})" for share, name in rest[:2] if share > 0.01]
    return "next: " + ", ".join(others) if others else ""


def _verdict(label: LabelName, truth: LabelName, probabilities: Mapping[str, float]) -> str:
    if truth == label:
        return "✓ correct"
    known = {truth} if isinstance(truth, str) else set(truth)
    share = joint_probability(truth, probabilities) if known <= probabilities.keys() else None
    return f"✗ wrong: true class {text(truth)}" + ("" if share is None else f" ({share:.1%})")


def legend(
    low: float, high: float, word: str, *, boxes: bool, votes: bool, width: int
) -> Pillow.Image:
    """The meaning of colours, frames and numbers."""
    sheet = Pillow.new("RGB", (width, 30), PAPER)
    draw = ImageDraw.Draw(sheet)
    x = _write(draw, 0, f"score {low:.3g}")
    ramp = matplotlib.colormaps["inferno"](np.linspace(0, 1, 120), bytes=True)[None, :, :3]
    sheet.paste(Pillow.fromarray(np.repeat(ramp, 14, axis=0), "RGB"), (x, 8))
    x = _write(draw, x + 128, f"{high:.3g}") + 22
    draw.rectangle((x, 8, x + 18, 22), outline=INK, width=2)
    number = "score, 0 to 1" if word == "score" else "largest weight"
    meaning = f"window: number, {number}; patch: vote" if votes else f"patch: number and {number}"
    x = _write(draw, x + 26, meaning) + 22
    if boxes:
        outline(draw, [(x, 9, x + 26, 21)], BOX, dash=5)
        _write(draw, x + 36, "annotated box")
    return sheet


def _write(draw: ImageDraw.ImageDraw, x: int, text: str) -> int:
    """Write on the line of the legend; return where the text ends."""
    text = text.replace("-", "−")
    draw.text((x, 15), text, QUIET, typeface(14), anchor="lm")
    return x + math.ceil(typeface(14).getlength(text)) + 8
