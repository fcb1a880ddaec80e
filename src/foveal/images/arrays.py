"""Pictures in arrays, of which parts are read: NumPy files (.npy), and what `zarr_arrays` opens.

Arrays have axes: y and x, c for gray or RGB, and others (time, depth) of one step at most.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from foveal.images.byte_ranges import CHANGED, stamp
from foveal.images.copies import Copy, downloaded
from foveal.images.decoding import SCALED
from foveal.images.limits import check_area
from foveal.images.locations import Location, RemoteFile
from foveal.images.pyramid import Place, Pyramid
from foveal.images.refusals import ImageError

_PIECE = 512  # pixels


@dataclass(frozen=True)
class ArrayLevel:
    """One array, in pieces.

    Attributes:
        axes: a letter for each axis.
        size: height and width.
        piece: height and width of a piece.
        opened: gives the array, as it was when the file was opened.
    """

    axes: str
    size: tuple[int, int]
    piece: tuple[int, int]
    opened: Callable[[], Any]

    def pieces(self, places: Sequence[Place]) -> Iterator[UInt8[Tensor, "3 _h _w"]]:
        """Read parts of the array."""
        array: Any = self.opened() if places else None
        for row, column in places:
            top, left = row * self.piece[0], column * self.piece[1]
            here = {
                "y": slice(top, min(top + self.piece[0], self.size[0])),
                "x": slice(left, min(left + self.piece[1], self.size[1])),
                "c": slice(None),
            }
            values = np.asarray(array[tuple(here.get(axis, 0) for axis in self.axes)])
            yield _rgb(values, [axis for axis in self.axes if axis in here])


def array_level(
    axes: str,
    shape: Sequence[int],
    opened: Callable[[], Any],
    chunk: tuple[int, int] = (1, 1),
) -> ArrayLevel:
    """A level of an array.

    Args:
        axes: a letter for each axis.
        shape: sizes of the axes.
        opened: gives the array.
        chunk: height and width of what is stored together; small ones are read several at a time.

    Raises:
        ImageError: it holds several pictures, or channels that are not those of a picture.
    """
    sizes = dict(zip(axes, shape, strict=True))
    if 0 in shape:
        raise ImageError(f"an array without pixels ({' x '.join(map(str, shape))})")
    for axis, size in sizes.items():
        if axis not in "cyx" and size > 1:
            raise ImageError(
                f"holds {size} pictures along its axis {axis}; save the one you want as an array"
                " of its own"
            )
    if sizes.get("c", 1) not in (1, 3):
        raise ImageError(
            f"an array of {sizes['c']} channels is not supported; save those you want as gray or"
            " RGB"
        )
    check_area(chunk, "a chunk of an array", "save it in smaller chunks", whole=False)
    height, width = (side * max(1, _PIECE // side) for side in chunk)
    return ArrayLevel(axes, (sizes["y"], sizes["x"]), (height, width), opened)


def bits_of(dtype: Any) -> int:
    """Bits of a sample.

    Raises:
        ImageError: its range is not known.
    """
    found = np.dtype(dtype)
    if found.kind != "u" or found.itemsize > 2:
        raise ImageError(
            f"an array of {found}, whose range is unknown, is not supported; save it as uint8 or"
            " uint16"
        )
    return int(8 * found.itemsize)


def guessed_axes(shape: Sequence[int]) -> str:
    """The axes of an array that does not name them: (H, W), (H, W, C) or (C, H, W).

    Raises:
        ImageError: of another number of axes, or no axis of 1 or 3.
    """
    if len(shape) == 2:
        return "yx"
    if len(shape) == 3 and shape[2] in (1, 3):
        return "yxc"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "cyx"
    raise ImageError(
        f"an array of {' x '.join(map(str, shape))} is no picture; save it as (H, W), (H, W, 3) or"
        " (3, H, W)"
    )


def open_npy(place: Location) -> Pyramid:
    """A NumPy file; of a remote one, a copy.

    Raises:
        ImageError, ValueError: it cannot be used.
    """
    copy = downloaded(place) if isinstance(place, RemoteFile) else None
    path = Path(place) if copy is None else copy.path
    opened = partial(_memmap, path, stamp(os.stat(path)), copy)
    array = opened()
    bits, axes = bits_of(array.dtype), guessed_axes(array.shape)
    level = array_level(axes, array.shape, opened)
    check_area(level.size, "files without smaller copies", "save it with a pyramid", whole=False)
    return _pyramid([level], array, bits, "NumPy array")


def _pyramid(levels: list[ArrayLevel], array: Any, bits: int, name: str) -> Pyramid:
    sizes = dict(zip(levels[0].axes, array.shape, strict=True))
    return Pyramid(levels, format=name, bits=bits, colours="RGB" if sizes.get("c") == 3 else "gray")


def _memmap(path: Path, state: tuple[int, ...], _kept: Copy | None) -> Any:
    """The array, mapped at every read: kept, it would end the program when its file is cut off."""
    if stamp(os.stat(path)) != state:
        raise ImageError(CHANGED)
    if state[1] == 0:
        raise ImageError("empty file (0 bytes); copy it again or leave it out")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header makes Python's tokenizer fail, too
        raise OSError(str(error)) from error


def _rgb(values: np.ndarray, axes: list[str]) -> UInt8[Tensor, "3 h w"]:
    """Values along c, y and x in any order, or y and x, as 8-bit RGB."""
    if values.dtype != np.uint8:
        values = SCALED[values]
    values = values.transpose([axes.index(axis) for axis in "cyx" if axis in axes])
    pixels = torch.from_numpy(np.array(values))
    return (pixels if "c" in axes else pixels[None]).expand(3, -1, -1)
