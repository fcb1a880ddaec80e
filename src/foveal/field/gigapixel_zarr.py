"""The pictures of `gigapixel` as OME-Zarr (NGFF 0.4): a folder with a file for each tile.

The files are written as they are, so that it takes no package.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from foveal.field.gigapixel import TILE, Paste, levels

_AXES = ("c", "y", "x")


def write_ome_zarr(
    folder: Path,
    texture: UInt8[np.ndarray, "P P 3"],
    size: tuple[int, int],
    *,
    paste: Paste | None = None,
) -> None:
    """Write a pyramid in chunks of 256 px, deflated without loss.

    Args:
        folder: to be made; its name ends in .zarr.
        texture, size, paste: as for `gigapixel.write_pyramid`.

    Raises:
        ValueError: the texture cannot be halved so often.
    """
    datasets = []
    for number, level in enumerate(levels(texture, size, paste)):
        array = folder / str(number)
        array.mkdir(parents=True)
        _write(
            array / ".zarray",
            {
                "zarr_format": 2,
                "shape": [3, *level.size],
                "chunks": [3, TILE, TILE],
                "dtype": "|u1",
                "compressor": {"id": "zlib", "level": 1},
                "filters": None,
                "fill_value": 0,
                "order": "C",
            },
        )
        columns = -(-level.size[1] // TILE)
        for at, tile in enumerate(level.tiles(_deflated)):
            (array / f"0.{at // columns}.{at % columns}").write_bytes(tile)
        scale = {"type": "scale", "scale": [1, 2**number, 2**number]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in _AXES]
    image = {"version": "0.4", "axes": axes, "datasets": datasets}
    _write(folder / ".zgroup", {"zarr_format": 2})
    _write(folder / ".zattrs", {"multiscales": [image]})


def _deflated(pixels: UInt8[np.ndarray, "256 256 3"]) -> bytes:
    return zlib.compress(pixels.transpose(2, 0, 1).tobytes(), 1)


def _write(file: Path, content: dict[str, object]) -> None:
    file.write_text(json.dumps(content))
