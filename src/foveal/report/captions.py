"""The words about an explanation: what was said above it, what the signs mean below it."""

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal.data.labels import LabelName, joint_probability, text
from foveal.report.drawing import (
    EVIDENCE,
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
    said: LabelName,
    probabilities: Mapping[str, float],
    truth: LabelName | None,
    file: str,
    width: int,
) -> Pillow.Image:
    """File, prediction with its runners-up, and whether it is right, in words and colour."""
    sheet = Pillow.new("RGB", (width, 64 if truth is None else 94), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (0, 12),
        fitted(plain(file or "image"), typeface(16), width),
        QUIET,
        typeface(16),
        anchor="lm",
    )
    answer = f"{text(said)}, {joint_probability(said, probabilities):.1%}"
    told = (said,) if isinstance(said, str) else said
    rest = [(share, name) for name, share in probabilities.items() if name not in told]
    rest.sort(key=lambda pair: -pair[0])
    others = [f"{name} ({share:.1%})" for share, name in rest[:2] if share > 0.01]
    answer = fitted(plain(answer), typeface(22, bold=True), width)
    draw.text((0, 44), answer, INK, typeface(22, bold=True), anchor="lm")
    start = math.ceil(typeface(22, bold=True).getlength(answer)) + 18
    runners = plain("then " + ", ".join(others))
    if others and start + typeface(16).getlength(runners) <= width:
        draw.text((start, 45), runners, QUIET, typeface(16), anchor="lm")
    if truth is not None:
        right = truth == said
        known = {truth} if isinstance(truth, str) else set(truth)
        given = (
            f" (given {joint_probability(truth, probabilities):.1%})"
            if known <= probabilities.keys()
            else ""
        )
        name = text(truth)
        words = f"✓ right: labelled {name}" if right else f"✗ wrong: labelled {name}{given}"
        colour = RIGHT if right else WRONG
        words = fitted(plain(words), typeface(18, bold=True), width)
        draw.text((0, 76), words, colour, typeface(18, bold=True), anchor="lm")
    return sheet


def legend(low: float, high: float, word: str, *, evidence: bool, width: int) -> Pillow.Image:
    """What colours, frames and numbers mean."""
    sheet = Pillow.new("RGB", (width, 30), PAPER)
    draw = ImageDraw.Draw(sheet)
    x = _say(draw, 0, f"score {low:.3g}")
    ramp = matplotlib.colormaps["inferno"](np.linspace(0, 1, 120), bytes=True)[None, :, :3]
    sheet.paste(Pillow.fromarray(np.repeat(ramp, 14, axis=0), "RGB"), (x, 8))
    x = _say(draw, x + 128, f"{high:.3g}") + 22
    draw.rectangle((x, 8, x + 18, 22), outline=INK, width=2)
    number = "its score from 0 to 1" if word == "score" else "its largest weight"
    x = _say(draw, x + 26, f"looked at: slot, {number}") + 22
    if evidence:
        outline(draw, [(x, 9, x + 26, 21)], EVIDENCE, dash=5)
        _say(draw, x + 36, "evidence")
    return sheet


def _say(draw: ImageDraw.ImageDraw, x: int, text: str) -> int:
    """Writes on the legend's line, and returns where the next thing may start."""
    text = text.replace("-", "−")
    draw.text((x, 15), text, QUIET, typeface(14), anchor="lm")
    return x + math.ceil(typeface(14).getlength(text)) + 8
