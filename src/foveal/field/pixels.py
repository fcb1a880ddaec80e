"""Pixels of the tasks' images, and their files."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from foveal.errors import UserError
from foveal.field.pictures import Box
from foveal.images import read


def png(pixels: UInt8[np.ndarray, "H W *C"]) -> bytes:
    """A PNG of a grey or RGB image."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def board(
    tiles: Sequence[Path], test: Path, region: Box | None, place: tuple[int, int], *, side: int
) -> UInt8[np.ndarray, "H W"]:
    """A square of clean tiles, one with a region of the defective image, in black and white.

    Args:
        tiles: clean images, row by row.
        test: the defective image.
        region: what is pasted: top, left, bottom, right in the tile; None: nothing.
        place: top left corner of the tile that it is pasted into.
        side: height and width of a tile.

    Raises:
        UserError: an image cannot be read, or has another size.
    """
    columns = int(len(tiles) ** 0.5)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    whole = np.vstack([np.hstack([_binary(tile, side) for tile in row]) for row in rows])
    if region is not None:
        top, left, bottom, right = region
        tile = whole[place[0] : place[0] + side, place[1] : place[1] + side]
        tile[top:bottom, left:right] = _binary(test, side)[top:bottom, left:right]
    return whole


def _binary(file: Path, side: int) -> UInt8[np.ndarray, "side side"]:
    """An image in black and white: its grey levels would tell how it was compressed."""
    pixels = read(file)[0].numpy()
    if pixels.shape != (side, side):
        height, width = pixels.shape
        raise UserError(f"{file}: has {height} x {width} px, not {side} x {side}")
    return np.where(pixels > 128, 255, 0).astype(np.uint8)
