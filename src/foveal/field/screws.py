"""Ball screws with and without pitting, photographed at ten spots while they wear.

BSData (Schlagenhauf et al., arXiv 2103.13003). Photographs of one spot show the same piece of metal
and so never lie in two splits.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foveal.errors import UserError
from foveal.field.groups import split_groups
from foveal.field.pictures import Box, Picture


def screws(*, source: Path, fold: int = 0) -> Iterator[Picture]:
    """Photographs of ball screws: pitted or sound? (BSData).

    Args:
        source: folder of BSData: images/, index.csv (file, spot, pitting, width, height) and
            polygons.json with the outlines of the pits.
        fold: which spots are tested, 0 to 4.

    Raises:
        UserError: there is no such fold, or the source is not BSData.
    """
    from foveal.data.folder import table

    index, outlines = source / "index.csv", source / "polygons.json"
    rows = table.read(index, ("file", "spot", "pitting", "width", "height"))
    pits = _read_outlines(outlines)
    splits = split_groups(Counter(cells["spot"] for _, cells in rows), fold)
    for line, cells in rows:
        try:
            height, width = int(cells["height"]), int(cells["width"])
            boxes = tuple(
                _box(pit["points"], height, width) for pit in pits.get(Path(cells["file"]).stem, ())
            )
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{index} line {line} or {outlines}: no size or outline ({error})"
            ) from None
        label = "pitted" if cells["pitting"] == "1" else "sound"
        image = source / "images" / cells["file"]
        yield Picture(image, label, splits[cells["spot"]], cells["spot"], boxes)


def _read_outlines(file: Path) -> dict[str, Any]:
    try:
        outlines = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}): copy BSData again") from None
    if not isinstance(outlines, dict):
        raise UserError(f"{file}: no outlines by image: copy BSData again")
    return outlines


def _box(points: Sequence[Sequence[float]], height: int, width: int) -> Box:
    """The box of an outline (x, y), rounded outwards and clipped to the image."""
    across, down = zip(*points, strict=True)
    return (
        max(0, math.floor(min(down))),
        max(0, math.floor(min(across))),
        min(height, math.ceil(max(down))),
        min(width, math.ceil(max(across))),
    )
