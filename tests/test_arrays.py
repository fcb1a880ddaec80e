"""Zarr arrays, OME-Zarr and NumPy files: the pixels that were written, from parts of them."""

import itertools
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import miniatures
from file_server import FileServer, serving
from foveal.data.folder import read_whole
from foveal.field.gigapixel import painted_texture
from foveal.field.gigapixel_zarr import write_ome_zarr
from foveal.images import FileImage, ImageError, TensorImage, arrays, read, remote
from foveal.images.file_resolution import resolution
from foveal.images.header import read_header
from foveal.images.locations import RemoteFile
from foveal.runs.inputs import list_images
from mutated import fault_of
from slide_files import halved
from test_lazy_files import LEVEL, crops

HEIGHT, WIDTH = 90, 130
MULTISCALES = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_PIECE", 40)


@pytest.fixture(scope="module")
def zarr() -> Any:
    return pytest.importorskip("zarr", reason="the extra zarr is not installed")


def values(dtype: str = "u1", height: int = HEIGHT, width: int = WIDTH) -> NDArray[Any]:
    """(H, W, 3)."""
    most = 256 if dtype == "u1" else 65536
    return np.random.default_rng(0).integers(0, most, (height, width, 3)).astype(dtype)


def shown(found: NDArray[Any]) -> Tensor:
    """(H, W, 3) as 8-bit RGB, by the definition."""
    if found.dtype != np.uint8:
        found = np.floor(found / 257 + 0.5).astype(np.uint8)
    return torch.from_numpy(found.copy()).permute(2, 0, 1)


def assert_shows(path: Path | str, pixels: Tensor) -> None:
    image, whole = FileImage(path), TensorImage(pixels)
    assert image.in_parts
    assert image.size == whole.size
    assert all(map(torch.equal, crops(image), crops(whole)))
    assert torch.equal(read(path), pixels)
    assert (image.view((9, 14)) - whole.view((9, 14))).abs().max() <= 1.01 * LEVEL


def ome(path: Path, levels: list[NDArray[Any]], axes: str = "tczyx", **more: Any) -> Path:
    """An OME-Zarr of (H, W, 3) levels; version 0.4 or 0.5."""
    import zarr

    version = more.pop("version", "0.4")
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    units = {"unit": "micrometer"}
    image: dict[str, Any] = {
        "version": version,
        "axes": [
            {"name": a, "type": "space", **units} if a in "zyx" else {"name": a} for a in axes
        ],
        "datasets": [],
    }
    for number, level in enumerate(levels):
        order = {"c": 2, "y": 0, "x": 1}
        array = level.transpose([order[a] for a in axes if a in order])
        array = array.reshape([1 if a not in order else level.shape[order[a]] for a in axes])
        chunks = tuple(32 if a in "yx" else size for a, size in zip(axes, array.shape, strict=True))
        group.create_array(str(number), data=array, chunks=chunks)
        scale = [0.5 * 2**number if a in "zyx" else 1.0 for a in axes]
        change = [{"type": "scale", "scale": scale}]
        image["datasets"].append({"path": str(number), "coordinateTransformations": change})
    described = {"multiscales": [image], **more}
    group.attrs.update(described if version == "0.4" else {"ome": described})
    return path


# the pixels that were written


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
def test_a_numpy_file_is_read_as_its_pixels(tmp_path: Path, dtype: str) -> None:
    stored = values(dtype)
    gray = stored[..., :1].repeat(3, axis=2)
    forms = {
        "rgb": (stored, stored),
        "planes": (stored.transpose(2, 0, 1), stored),
        "fortran": (np.asfortranarray(stored), stored),
        "gray": (stored[..., 0], gray),
        "one": (stored[..., :1], gray),
    }
    for name, (array, expected) in forms.items():
        np.save(tmp_path / f"{name}.npy", array)
        assert_shows(tmp_path / f"{name}.npy", shown(expected))
    header = read_header(tmp_path / "gray.npy")
    assert str(header) == f"{8 * np.dtype(dtype).itemsize}-bit gray NumPy array"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_a_zarr_array_is_read_as_its_pixels(
    tmp_path: Path, zarr: Any, version: int, dtype: str
) -> None:
    stored = values(dtype)
    for chunk in (16, 40, 200):
        path = tmp_path / f"{chunk}.zarr"
        zarr.create_array(path, data=stored, chunks=(chunk, chunk, 3), zarr_format=version)
        assert_shows(path, shown(stored))
    gray = tmp_path / "gray.zarr"
    zarr.create_array(gray, data=stored[..., 0], chunks=(16, 30), zarr_format=version)
    assert_shows(gray, shown(stored[..., :1].repeat(3, axis=2)))
    if version == 3:
        path = tmp_path / "sharded.zarr"
        zarr.create_array(path, data=stored, chunks=(16, 16, 3), shards=(64, 64, 3))
        assert_shows(path, shown(stored))
        path = tmp_path / "named.zarr"
        zarr.create_array(path, data=stored.transpose(1, 2, 0), dimension_names=("x", "c", "y"))
        assert_shows(path, shown(stored))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "cyx", "yxc", "zyxc"])
def test_an_ome_zarr_is_read_as_its_pixels(
    tmp_path: Path, zarr: Any, version: str, axes: str
) -> None:
    first = values()
    path = ome(tmp_path / "a.ome.zarr", [first, halved(first)], axes, version=version)
    image = FileImage(path)
    assert torch.equal(read(path), shown(first))
    assert all(map(torch.equal, crops(image), crops(TensorImage(shown(first)))))
    assert torch.equal(image.view((45, 65)), shown(halved(first)) / 255)  # of the second level
    found = resolution(path)
    assert found is not None
    assert (found.down, found.across, found.source) == (0.5, 0.5, "OME-Zarr")
    assert str(read_header(path)) == "8-bit RGB OME-Zarr"


def test_the_view_of_an_ome_zarr_is_that_of_its_pixels(tmp_path: Path, zarr: Any) -> None:
    levels = [miniatures.smooth(256, 320).permute(1, 2, 0).numpy()]
    for _ in range(3):
        levels.append(halved(levels[-1]))
    image = FileImage(ome(tmp_path / "a.zarr", levels, "cyx"))
    whole = TensorImage(shown(levels[0]))
    for size in ((20, 25), (64, 80), (100, 120), (256, 320)):
        assert (image.view(size) - whole.view(size)).abs().max() <= 6 * LEVEL


def test_a_gigapixel_generator_writes_what_its_tiffs_show(tmp_path: Path, zarr: Any) -> None:
    texture = painted_texture(64)
    write_ome_zarr(tmp_path / "a.ome.zarr", texture, (700, 1100))
    repeated = np.tile(texture, (11, 18, 1))[:700, :1100]
    assert torch.equal(read(tmp_path / "a.ome.zarr"), shown(repeated))
    image = FileImage(tmp_path / "a.ome.zarr")
    assert image.view((9, 14)).shape == (3, 9, 14)


# where they are found


def test_a_zarr_in_a_folder_or_a_table_is_an_image(tmp_path: Path, zarr: Any) -> None:
    for label, number in itertools.product("ab", range(2)):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        ome(tmp_path / "data" / label / f"{number}.ome.zarr", [values()], "cyx")
    data = read_whole(tmp_path / "data")
    assert [example.image.size for example in map(data.__getitem__, range(4))] == [(90, 130)] * 4
    first = tmp_path / "data" / "a" / "0.ome.zarr"
    assert len(list_images(tmp_path / "data")) == 4
    assert [each.path for each in list_images([first, str(first)])] == [first, first]
    np.save(tmp_path / "b.npy", values())
    (tmp_path / "t.csv").write_text("file,label\ndata/a/0.ome.zarr,a\nb.npy,b\n")
    data = read_whole(tmp_path / "t.csv")
    assert [data[n].image.size for n in range(2)] == [(90, 130)] * 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    pytest.importorskip("aiohttp", reason="aiohttp, by which fsspec reads URLs, is missing")
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    with serving(FileServer()) as server:
        yield server


def test_arrays_are_read_from_a_server(tmp_path: Path, zarr: Any, server: FileServer) -> None:
    first = values(height=600, width=800)
    for version in ("0.4", "0.5"):
        path = ome(tmp_path / f"{version}.zarr", [first, halved(first)], "cyx", version=version)
        for file in path.rglob("*"):
            if file.is_file():
                server.put(file.relative_to(tmp_path).as_posix(), file.read_bytes())
        image = FileImage(f"{server.url}/{version}.zarr")
        server.sent = 0
        assert all(map(torch.equal, crops(image), crops(TensorImage(shown(first)))))
        assert 0 < server.sent < 0.2 * first.nbytes
        assert resolution(RemoteFile(str(image.path))) == resolution(path)
        server.failures = 1
        assert all(map(torch.equal, crops(image), crops(TensorImage(shown(first)))))
        server.failures = 10**6
        with pytest.raises(ImageError, match="cannot be read from where it is stored"):
            FileImage(str(image.path)).view((300, 400))
        server.failures = 0
    with pytest.raises(ImageError) as caught:
        _ = FileImage(f"{server.url}/none.zarr").size
    assert "\n" not in str(caught.value)
    np.save(tmp_path / "a.npy", first)
    url = server.put("a.npy", (tmp_path / "a.npy").read_bytes())
    assert torch.equal(read(url), shown(first))


def test_threads_and_processes_share_an_array(tmp_path: Path, zarr: Any) -> None:
    np.save(tmp_path / "a.npy", values())
    for path in (ome(tmp_path / "a.zarr", [values()], "cyx"), tmp_path / "a.npy"):
        image, expected = FileImage(path), crops(TensorImage(shown(values())))
        image.view((9, 9))
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _, image=image: crops(image), range(8)):
                assert all(map(torch.equal, found, expected))
        with multiprocessing.get_context("fork").Pool(1) as processes:
            (found,) = processes.map(crops, [image])
        assert all(map(torch.equal, found, expected))


# what is refused


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((9, 9), np.float32), "an array of float32, whose range is unknown"),
        (np.zeros((9, 9), np.int16), "int16"),
        (np.zeros((9, 9), np.uint32), "uint32"),
        (np.zeros((9, 9), bool), "bool"),
        (np.zeros((9, 9), np.dtype([("a", "u1")])), "range is unknown"),
        (np.zeros(9, np.uint8), "an array of 9 is no picture"),
        (np.zeros((9, 9, 4), np.uint8), "9 x 9 x 4 is no picture"),
        (np.zeros((2, 9, 9, 3), np.uint8), "2 x 9 x 9 x 3 is no picture"),
        (np.zeros((0, 9), np.uint8), "an array without pixels"),
        (np.zeros((9, 0, 3), np.uint8), "an array without pixels"),
    ],
)
def test_other_arrays_are_refused_in_one_line(
    tmp_path: Path, array: NDArray[Any], words: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    paths = [tmp_path / "a.npy"]
    if "zarr" in sys.modules and array.dtype.names is None:
        sys.modules["zarr"].create_array(tmp_path / "a.zarr", data=array)
        paths.append(tmp_path / "a.zarr")
    for path in paths:
        for look in (lambda p=path: FileImage(p).size, lambda p=path: read(p)):
            with pytest.raises(ImageError, match=words) as caught:
                look()
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


def test_a_numpy_file_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([["a", None]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"a\.npy: "):
        read(tmp_path / "a.npy")


def test_a_pickled_chunk_is_never_unpickled(tmp_path: Path, zarr: Any) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=values()[..., 0], zarr_format=2, compressors=None)
    metadata = json.loads((path / ".zarray").read_text())
    for place in ("filters", "compressor"):
        codec = {"id": "pickle", "protocol": 5}
        changed = {**metadata, place: [codec] if place == "filters" else codec}
        (path / ".zarray").write_text(json.dumps(changed))
        with pytest.raises(ImageError, match=r"stored with pickle|not supported|damaged"):
            read(path)


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("tyx", (2, 9, 9), "holds 2 pictures along its axis t"),
        ("zyx", (5, 9, 9), "holds 5 pictures along its axis z"),
        ("cyx", (2, 9, 9), "an array of 2 channels"),
        ("cyx", (4, 9, 9), "an array of 4 channels"),
        ("yc", (9, 9), "an array of 2 axes that are called yc"),
        ("yyx", (1, 9, 9), "an array of 3 axes that are called yyx"),
        ("yx", (1, 9, 9), "an array of 3 axes that are called yx"),
    ],
)
def test_what_is_no_single_picture_is_refused(
    tmp_path: Path, zarr: Any, axes: str, shape: tuple[int, ...], words: str
) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros(shape, np.uint8))
    image = {"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}
    group.attrs.update({"multiscales": [image]})
    with pytest.raises(ImageError, match=words) as caught:
        _ = FileImage(tmp_path / "a.zarr").size
    assert "\n" not in str(caught.value)


def test_wrong_groups_are_refused_in_one_line(
    tmp_path: Path, zarr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, path = values(), tmp_path / "a.zarr"
    colours = [{"color": "0000FF"}, {"color": "00FF00"}, {"color": "FF0000"}]
    ome(path, [first], "cyx", omero={"channels": colours})
    with pytest.raises(ImageError, match="not in red, green and blue"):
        read(path)
    ome(path, [first], "cyx", omero={"channels": colours[::-1]})
    assert torch.equal(read(path), shown(first))
    for wrong in (np.vstack([first, first]), first[:40, :20], first[:89]):
        ome(path, [first, wrong], "cyx")
        with pytest.raises(ImageError, match="is no smaller copy of 90 x 130 px"):
            read(path)
    group = zarr.open_group(path, mode="r+")
    several = list(group.attrs["multiscales"]) * 2
    group.attrs["multiscales"] = several
    with pytest.raises(ImageError, match="holds 2 images"):
        read(path)
    for attributes, words in (
        ({"multiscales": [{"datasets": [{"path": "9"}]}]}, r"a\.zarr: "),
        ({"multiscales": [{"datasets": []}]}, r"a\.zarr: "),
        ({"multiscales": 3}, r"a\.zarr: "),
        ({"bioformats2raw.layout": 3}, r"a collection of images; name .*a\.zarr/0"),
        ({}, r"without multiscales; name an array in it, such as .*a\.zarr/0"),
    ):
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.create_array("0", data=first)
        group.attrs.update(attributes)
        with pytest.raises(ImageError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert torch.equal(read(path / "0"), shown(first))
    (tmp_path / "empty.zarr").mkdir()
    for name in ("empty.zarr", "none.zarr"):
        with pytest.raises(ImageError, match=name):
            read(tmp_path / name)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImageError, match=r"pip install 'foveal\[zarr\]'"):
        read(path)


def test_a_large_array_needs_a_pyramid(
    tmp_path: Path, zarr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(10**6, 10**6), chunks=(512, 512), dtype="u1")
    zarr.create_array(tmp_path / "b.zarr", shape=(10**6, 10**6), chunks=(10**6, 10**6), dtype="u1")
    for name, words in (("a", "arrays without smaller copies"), ("b", "a chunk of an array")):
        with pytest.raises(ImageError, match=f"1000000 x 1000000 pixels exceed .* {words}"):
            _ = FileImage(tmp_path / f"{name}.zarr").size
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", "1000")
    np.save(tmp_path / "a.npy", values())
    with pytest.raises(ImageError, match="90 x 130 pixels exceed the limit of 1000"):
        _ = FileImage(tmp_path / "a.npy").size


# bad files


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
def test_a_numpy_file_cut_off_anywhere_is_refused(tmp_path: Path, share: float) -> None:
    np.save(tmp_path / "a.npy", values())
    content = (tmp_path / "a.npy").read_bytes()
    image = FileImage(tmp_path / "a.npy")
    assert image.size == (HEIGHT, WIDTH)
    (tmp_path / "a.npy").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match="changed while it was read"):
        image.view((9, 9))
    with pytest.raises(ImageError, match=r"damaged or truncated|empty file") as caught:
        read(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damage_in_a_chunk_matters_only_where_it_is_looked_at(
    tmp_path: Path, zarr: Any, version: str
) -> None:
    first = values()
    path = ome(tmp_path / "a.zarr", [first], "cyx", version=version)
    files = sorted(f for f in path.rglob("*") if f.is_file() and f.name.split(".")[-1].isdigit())
    last = files[-1]
    last.write_bytes(last.read_bytes()[:40])
    image = FileImage(path)
    crop = image.crops(torch.tensor([[5, 5, 20, 20]]), (15, 15))[0]
    assert torch.equal(crop, shown(first)[:, 5:20, 5:20] / 255)
    with pytest.raises(ImageError, match=r"a\.zarr: damaged or truncated") as caught:
        image.crops(torch.tensor([[60, 100, 90, 130]]), (30, 30))
    assert "\n" not in str(caught.value)


def test_a_chunk_that_is_missing_holds_the_fill_value(tmp_path: Path, zarr: Any) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), dtype="u1", fill_value=200
    )
    array[:32, :32] = 7
    expected = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    expected[:, :32, :32] = 7
    assert torch.equal(read(tmp_path / "a.zarr"), expected)


def test_any_damage_to_metadata_is_one_line(tmp_path: Path, zarr: Any) -> None:
    from random import Random

    from mutated import TEXT_CHANGES, mutated

    for version in ("0.4", "0.5"):
        path = ome(tmp_path / f"{version}.zarr", [values(), halved(values())], version=version)
        files = sorted(f for f in path.rglob("*z*") if f.is_file() and not f.name[-1].isdigit())
        for number in range(60):
            random = Random(number)
            file = random.choice(files)
            intact = file.read_bytes()
            file.write_bytes(mutated(intact, random, TEXT_CHANGES))
            for look in (lambda p=path: FileImage(p).view((5, 6)), lambda p=path: read(p)):
                assert fault_of(look) is None, (version, number, file.name)
            file.write_bytes(intact)
