"""Zarr arrays, and pyramids of them: OME-Zarr (NGFF 0.1 to 0.5), here or remote.

A folder, or a URL, whose name holds `.zarr`. Chunks are fetched one by one. One that is missing
holds the fill value of the array, as the format says.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from foveal._lengths import MICROMETRES
from foveal.images.arrays import ArrayLevel, array_level, bits_of, guessed_axes
from foveal.images.extras import imported
from foveal.images.limits import check_area
from foveal.images.locations import Location, RemoteFile, absolute
from foveal.images.pyramid import Pyramid
from foveal.images.refusals import ImageError
from foveal.images.remote import options_of, tried
from foveal.images.resolution import Resolution, positive
from foveal.images.tiff import is_smaller_in_shape

_CODECS = frozenset(
    (
        *("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "delta", "shuffle"),
        *("bytes", "transpose", "crc32c", "sharding_indexed"),
    )
)
"""Those that are read; pickled ones would run what a file says."""
_keys = itertools.count()
_OPEN = 64  # arrays and groups that a process keeps open
_UNITS = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
_RGB = (0xFF0000, 0x00FF00, 0x0000FF)


def open_zarr(place: Location) -> Pyramid:
    """The levels of a picture, the full size first.

    Raises:
        ImageError: zarr is not installed, or it holds no picture, or several.
        OSError: it is damaged.
    """
    imported("zarr", "zarr", "Zarr arrays")
    if not isinstance(place, RemoteFile):
        os.stat(place)
    with _faults():
        key = next(_keys)
        node = _node(absolute(place), key, os.getpid())
        if hasattr(node, "shape"):
            return _plain(absolute(place), key, node)
        attributes = dict(node.attrs)
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales") or () if isinstance(ome, Mapping) else ()
    if not found and "bioformats2raw.layout" in ome:
        raise ImageError(f"a collection of images; name the one you want, such as {place}/0")
    if not found:
        raise ImageError(
            f"a Zarr group without multiscales; name an array in it, such as {place}/0"
        )
    if len(found) > 1:
        raise ImageError(f"holds {len(found)} images; save the one you want as a file of its own")
    with _faults():
        return _multiscale(place, found[0], ome.get("omero") or {})


def _plain(place: str, key: int, array: Any) -> Pyramid:
    names = getattr(array.metadata, "dimension_names", None)
    axes = (
        "".join(names)
        if names and all(n and len(n) == 1 for n in names)
        else guessed_axes(array.shape)
    )
    return _pyramid([_level(place, key, array, axes)], array, "Zarr array", None)


def _multiscale(place: Location, image: Mapping[str, Any], omero: Mapping[str, Any]) -> Pyramid:
    axes = image.get("axes") or list("tczyx")
    names = "".join(axis if isinstance(axis, str) else axis["name"] for axis in axes)
    arrays, levels = [], []
    for data_set in image["datasets"]:
        inner = f"{absolute(place).rstrip('/')}/{data_set['path']}"
        key = next(_keys)
        arrays.append(_node(inner, key, os.getpid()))
        levels.append(_level(inner, key, arrays[-1], names))
    _check_colours(names, arrays[0].shape, omero)
    return _pyramid(levels, arrays[0], "OME-Zarr", _resolution(image, axes))


def _pyramid(levels: list[ArrayLevel], first: Any, name: str, shown: Resolution | None) -> Pyramid:
    """A pyramid, if its levels are smaller copies of the first."""
    size = levels[0].size
    for level in levels[1:]:
        if level.size != size and not is_smaller_in_shape(level.size, size):
            raise ImageError(
                f"a level of {level.size[0]} x {level.size[1]} px is no smaller copy of"
                f" {size[0]} x {size[1]} px; save it again"
            )
    check_area(
        min((level.size for level in levels), key=lambda size: size[0] * size[1]),
        "arrays without smaller copies",
        "save it as OME-Zarr with a pyramid",
        whole=False,
    )
    sizes = dict(zip(levels[0].axes, first.shape, strict=True))
    return Pyramid(
        levels,
        format=name,
        bits=bits_of(first.dtype),
        colours="RGB" if sizes.get("c") == 3 else "gray",
        resolution=shown,
    )


def _level(place: str, key: int, array: Any, axes: str) -> ArrayLevel:
    """A level of an array, whose codecs are known to be harmless."""
    if len(axes) != len(array.shape) or not {"y", "x"} <= set(axes) or len(set(axes)) < len(axes):
        raise ImageError(f"an array of {len(array.shape)} axes that are called {axes or 'nothing'}")
    bits_of(array.dtype)
    if unknown := sorted(set(_codecs(array.metadata)) - _CODECS):
        raise ImageError(f"stored with {', '.join(unknown)}, which is not supported")
    sides = dict(zip(axes, array.chunks, strict=True))
    opened = partial(_Array, place, key)
    return array_level(axes, array.shape, opened, (sides["y"], sides["x"]))


def _codecs(metadata: Any) -> Iterator[str]:
    """The names of what encodes an array, of both versions of the format."""
    described = metadata.to_dict()
    waiting = [described.get(name) for name in ("codecs", "filters", "compressor")]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, Mapping):
            yield str(each.get("name") or each.get("id")).removeprefix("numcodecs.")
            inner = each.get("configuration")
            waiting += [inner.get("codecs"), inner.get("index_codecs")] if inner else []


def _check_colours(axes: str, shape: Sequence[int], omero: Mapping[str, Any]) -> None:
    """Refuse three channels whose metadata name other colours than red, green and blue."""
    count = dict(zip(axes, shape, strict=True)).get("c", 1)
    said = [channel.get("color") for channel in omero.get("channels") or ()]
    if count == 3 and any(said) and [int(str(each), 16) for each in said] != list(_RGB):
        raise ImageError(
            f"its channels are shown in {', '.join(map(str, said))}, not in red, green and blue;"
            " save what you want to see as RGB"
        )


def _resolution(image: Mapping[str, Any], axes: Sequence[Any]) -> Resolution | None:
    """What a pixel of the first level shows, if its axes have units of length."""
    scales = [image["datasets"][0], image]
    found = {}
    for at, axis in enumerate(axes):
        unit = axis.get("unit") if isinstance(axis, Mapping) else None
        side = _UNITS.get(str(unit), MICROMETRES.get(str(unit)))
        for each in scales:
            for change in each.get("coordinateTransformations") or ():
                if change.get("type") == "scale" and side is not None:
                    side *= positive(change["scale"][at]) or float("nan")
        found["" if isinstance(axis, str) else axis["name"]] = positive(side)
    down, across = found.get("y"), found.get("x")
    return None if down is None or across is None else Resolution(down, across, "OME-Zarr")


@lru_cache(maxsize=_OPEN)
def _node(place: str, _key: int, _process: int) -> Any:
    """An array or group, for each file that is opened; processes must not share it."""
    import zarr

    if "://" not in place:
        return zarr.open(place, mode="r")
    return tried(lambda: zarr.open(place, mode="r", storage_options=options_of(place)))


class _Array:
    """An array of which parts are read; on a server, what fails is tried again."""

    def __init__(self, place: str, key: int) -> None:
        self._is_remote = "://" in place
        with _faults():
            self._array = _node(place, key, os.getpid())

    def __getitem__(self, index: Any) -> Any:
        with _faults():
            return tried(lambda: self._array[index]) if self._is_remote else self._array[index]


@contextmanager
def _faults() -> Iterator[None]:
    """Whatever metadata make of zarr is damage."""
    try:
        yield
    except (ImageError, OSError):
        raise
    except Exception as error:  # zarr and its codecs raise of all kinds
        raise OSError(str(error) or type(error).__name__) from error
