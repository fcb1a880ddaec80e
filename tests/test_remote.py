"""Images on a server or in an object store: the same pixels as of a file, from parts of it."""

import csv
import multiprocessing
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import miniatures
from every_format import images, pngs
from file_server import FileServer, serving
from foveal.cli.main import main
from foveal.data.folder import read_folder, read_whole
from foveal.errors import UserError
from foveal.evaluation import predict
from foveal.field.gigapixel import painted_texture, write_pyramid
from foveal.images import FileImage, ImageError, TensorImage, copies, read, remote
from foveal.images.file_resolution import resolution
from foveal.images.header import read_header
from foveal.images.locations import RemoteFile, is_url, location
from foveal.models import PatchClassifier
from foveal.nn import aggregators
from foveal.nn.encoders import ThinResNet
from foveal.nn.scorers import ConvScorer
from foveal.nn.selectors import TopK
from foveal.runs.inputs import list_images
from slide_files import generic
from test_lazy_files import TILED, WINDOWS, crops
from tiff_files import DEFLATE, tiff
from tiff_files import random as values

pytest.importorskip("aiohttp", reason="aiohttp, by which fsspec reads URLs, is missing")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    with serving(FileServer()) as server:
        yield server
    copies._copies.clear()


def tiled() -> bytes:
    kind = replace(TILED, compression=DEFLATE, tags={282: (100.0,), 283: (200.0,), 296: (3,)})
    pages = [(values(kind, 450 >> n, 700 >> n), kind) for n in (0, 1, 2)]
    return tiff(pages)


def local(tmp_path: Path, content: bytes, name: str = "local.tif") -> FileImage:
    (tmp_path / name).write_bytes(content)
    return FileImage(tmp_path / name)


# the same pixels as of a file


@pytest.mark.parametrize("ranges", ["yes", "no", "silent"])
def test_a_tiled_tiff_on_a_server_is_read_as_a_file(
    server: FileServer, tmp_path: Path, ranges: str
) -> None:
    server.ranges = ranges
    expected, found = local(tmp_path, tiled()), FileImage(server.put("a.tif", tiled()))
    assert found.in_parts
    assert found.size == expected.size
    for size in ((9, 14), (112, 175), (300, 400)):
        assert torch.equal(found.view(size), expected.view(size))
    assert all(map(torch.equal, crops(found), crops(expected)))
    assert torch.equal(
        found.glance((0, 0, 90, 80), (9, 8)), expected.glance((0, 0, 90, 80), (9, 8))
    )
    assert torch.equal(read(str(found.path)), read(expected.path))
    assert resolution(found.path) == resolution(expected.path)
    if ranges != "yes":  # once, however often it is opened; what is silent was asked for a part
        assert server.sent <= (2 if ranges == "silent" else 1) * len(tiled())


def test_every_format_is_read_from_a_server(server: FileServer, tmp_path: Path) -> None:
    for name, content in (images() | pngs()).items():
        url, file = server.put(name, content), local(tmp_path, content, name)
        found = FileImage(url)
        assert found.size == file.size, name
        assert torch.equal(read(url), read(file.path)), name
        assert torch.equal(found.view((9, 14)), file.view((9, 14))), name
        assert read_header(RemoteFile(url)) == read_header(file.path), name


def test_an_object_store_is_read_as_a_server(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/bucket/a.tif", tiled())
    store.pipe("/bucket/a.jpg", images()["a.jpg"])
    found, expected = FileImage("memory://bucket/a.tif"), local(tmp_path, tiled())
    assert torch.equal(found.view((9, 14)), expected.view((9, 14)))
    assert all(map(torch.equal, crops(found), crops(expected)))
    picture = local(tmp_path, images()["a.jpg"], "a.jpg")
    assert torch.equal(read("memory://bucket/a.jpg"), read(picture.path))
    store.pipe("/bucket/a.tif", tiled())  # the same, but written again
    with pytest.raises(ImageError, match="changed while it was read"):
        FileImage.crops(found, WINDOWS + 300, (8, 8))


@pytest.fixture
def bucket() -> str:
    """A folder of a store with images, and much else."""
    import fsspec

    store, name = fsspec.filesystem("memory"), "listed"
    for file in ("a10.png", "a9.png", "deep/B.jpg", "deep/er.zarr/0/0", "deep/er.zarr/.zgroup"):
        store.pipe(f"/{name}/{file}", b"1")
    for file in ("boxes.csv", "notes.txt", ".hidden/a.png", "deep/Thumbs.db", "deep/.b.png"):
        store.pipe(f"/{name}/{file}", b"1")
    return f"memory://{name}"


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_bucket_is_listed_as_a_folder(bucket: str, ending: str) -> None:
    listed = list_images(bucket + ending)
    names = ("a9.png", "a10.png", "deep/B.jpg", "deep/er.zarr")
    assert [str(source) for source in listed.sources] == [f"{bucket}/{name}" for name in names]
    (others, hidden) = listed.notes
    assert others == f"{bucket}{ending}: ignored 1 other files (1 .txt)"
    assert "3 hidden or system files" in hidden


def test_a_pattern_names_files_of_a_bucket(bucket: str) -> None:
    for pattern, names in (("a*.png", ("a9.png", "a10.png")), ("deep/?.jpg", ("deep/B.jpg",))):
        sources = list_images(f"{bucket}/{pattern}").sources
        found = [str(source).replace(":///", "://") for source in sources]
        assert found == [f"{bucket}/{name}" for name in names]
    with pytest.raises(UserError, match=r"listed/z\*: no file matches this pattern"):
        list_images(f"{bucket}/z*")


def test_a_folder_in_an_archive_is_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x/b.jpg", "x/a.jpg", "y/c.jpg"):
            archive.writestr(name, images()["a.jpg"])
    for inner, names in (("x/", "ab"), ("x/*", "ab"), ("y/", "c")):
        listed = list_images(f"zip://{inner}::{tmp_path}/a.zip")
        folder = inner[0]
        expected = [f"zip://{folder}/{name}.jpg::{tmp_path}/a.zip" for name in names]
        assert [str(source) for source in listed.sources] == expected
        assert all(min(image.size) > 1 for image in listed)


@pytest.mark.parametrize(
    "url", ["memory://nowhere/", "memory://nowhere", "nothing://x/", "s3://b/"]
)
def test_a_folder_that_cannot_be_listed_is_refused_in_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=re.escape(url)) as refused:
        list_images(url)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["https://x/a/", "https://x/a?b=*", "zip://a.tif::b.zip", "memory://a.tif", "s3://b/a.zarr/"],
)
def test_a_url_of_one_image_is_not_listed(url: str) -> None:
    assert [str(source) for source in list_images(url).sources] == [url]


def test_a_slide_on_a_server_is_read_in_a_copy(server: FileServer, tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="the extra slides is not installed")
    pixels = miniatures.pixels(100, 130)
    path = generic(tmp_path / "a.bif", pixels.permute(1, 2, 0).contiguous().numpy())
    url = server.put("a.bif", path.read_bytes())
    assert torch.equal(read(url), pixels)
    image = FileImage(url)
    assert all(map(torch.equal, crops(image), crops(TensorImage(pixels))))


def test_threads_and_processes_share_a_remote_image(server: FileServer, tmp_path: Path) -> None:
    image, expected = FileImage(server.put("a.tif", tiled())), local(tmp_path, tiled())
    image.view((9, 14))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: crops(image), range(8)):
            assert all(map(torch.equal, found, crops(expected)))
    with multiprocessing.get_context("fork").Pool(1) as processes:
        (found,) = processes.map(crops, [image])
    assert all(map(torch.equal, found, crops(expected)))


# only what is needed


def test_a_prediction_reads_a_small_part_of_a_large_file(
    server: FileServer, tmp_path: Path
) -> None:
    write_pyramid(tmp_path / "a.tif", painted_texture(1024), (10000, 10000), quality=95)
    content = (tmp_path / "a.tif").read_bytes()
    image = FileImage(server.put("a.tif", content))
    torch.manual_seed(0)
    model = PatchClassifier(
        scorer=ConvScorer(),
        select=TopK(8),
        encoder=ThinResNet(),
        aggregate=aggregators.max,
        classes=2,
        view=(256, 256),
        patch=(128, 128),
    )
    (found,) = predict(model, [image], ("a", "b"), 1)
    (expected,) = predict(model, [FileImage(tmp_path / "a.tif")], ("a", "b"), 1)
    assert (found.probabilities, found.windows) == (expected.probabilities, expected.windows)
    assert 0 < server.sent < 0.05 * len(content)


# faults


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_what_breaks_off_is_tried_again(server: FileServer, tmp_path: Path, name: str) -> None:
    content = tiled() if name == "a.tif" else images()[name]
    url, expected = server.put(name, content), local(tmp_path, content, name)
    image = FileImage(url)
    for failures in (1, 2):
        server.failures = failures
        assert torch.equal(image.view((9, 14)), expected.view((9, 14)))
        image = FileImage(url)
        copies._copies.clear()
    server.failures = 10**6
    with pytest.raises(ImageError, match="cannot be read from where it is stored") as caught:
        FileImage(url).view((9, 14))
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words", "tries"),
    [(404, "no such file", 2), (403, "403", 2), (401, "401", 2), (500, "500", 6), (503, "503", 6)],
)
def test_a_refusal_is_one_line_and_not_tried_again(
    server: FileServer, status: int, words: str, tries: int
) -> None:
    server.status = status
    url = server.put("a.tif", tiled())
    with pytest.raises(ImageError, match=words) as caught:
        _ = FileImage(url).size
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)
    assert len(server.asked) <= tries  # HEAD, and GET where that is refused


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.tif", "nothing://x/a.tif", "zip://a::b.zip"])
def test_what_cannot_be_reached_is_one_line(
    url: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError) as caught:
        _ = FileImage(url).size
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)


def test_a_store_whose_package_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(remote.__dict__, "_PAUSES", ())
    with pytest.raises(ImageError, match=r"s3fs.*pip install 'foveal\[remote\]'"):
        _ = FileImage("s3://bucket/a.tif").size


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changes_while_it_is_read_is_refused(server: FileServer, tags: bool) -> None:
    server.tags = tags
    content = tiled()
    url = server.put("a.tif", content)
    image = FileImage(url)
    assert image.size == (450, 700)
    changed = content[:-1] + bytes([content[-1] ^ 1]) if tags else content + b"more"
    server.put("a.tif", changed)
    for look in (lambda: image.view((9, 14)), lambda: image.crops(WINDOWS, (8, 8))):
        with pytest.raises(ImageError, match="changed while it was read"):
            look()
    assert FileImage(url).size == (450, 700)


def test_bad_files_cost_their_own_rows(server: FileServer, tmp_path: Path) -> None:
    good = server.put("a.tif", tiled())
    cut = server.put("cut.tif", tiled()[:-20000])
    empty, text = server.put("empty.jpg", b""), server.put("text.png", b"no image")
    listed = list_images([good, cut, f"{server.url}/none.tif", empty, text])
    assert str(listed.sources[0]) == good
    errors = []
    for image in listed:
        try:
            image.view((9, 14))
            errors.append("")
        except ImageError as error:
            errors.append(str(error).removeprefix(str(image.path)))
    assert [bool(error) for error in errors] == [False, True, True, True, True]
    for error, words in zip(
        errors[1:], ("beyond the end", "no such file", "empty file", "not an image"), strict=True
    ):
        assert words in error


# lists, and copies


def test_the_command_predicts_urls_and_continues(server: FileServer, tmp_path: Path) -> None:
    run = Path(__file__).parent / "fixtures" / "run_format1_folder" / "run"
    shutil.copytree(run, tmp_path / "run")
    urls = [server.put("a.tif", tiled()), f"{server.url}/none.tif"]
    output = tmp_path / "rows.csv"
    command = ["predict", str(tmp_path / "run"), *urls, "--output", str(output)]
    assert main(command) == 0  # an error costs its own row
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == urls
    assert (rows[0]["error"], bool(rows[0]["label"])) == ("", True)
    assert rows[1]["error"] == f"{urls[1]}: no such file; check the path"
    asked = len(server.asked)
    main([*command, "--resume"])
    assert len(server.asked) == asked


def test_a_table_names_remote_and_local_images(server: FileServer, tmp_path: Path) -> None:
    urls = [server.put(f"{n}.png", content) for n, content in enumerate(pngs().values())]
    miniatures.write(tmp_path / "5.png", miniatures.pixels(9, 13))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label"))
        rows.writerows((url, "ab"[n % 2]) for n, url in enumerate([*urls, *urls[:1], "5.png"][:4]))
        rows.writerow(("5.png", "b"))
    data = read_whole(tmp_path / "labels.csv")
    assert [data[n].image.size for n in range(len(data))] == [(9, 13)] * 5
    assert data[0].file == urls[0]
    assert len(read_folder(tmp_path / "labels.csv").train) > 0


@pytest.mark.parametrize("text", ["https://x/a.tif?b=c.d", "s3://b/a.tif", "zip://a.tif::s3://b/c"])
def test_a_url_is_no_path(text: str) -> None:
    assert location(text) == RemoteFile(text)
    assert location(text).suffix == ".tif"
    assert str(location(text)) == text


@pytest.mark.parametrize("text", ["a.tif", "/a/b.tif", "C://a.tif", "C:\\a.tif", "a:b.tif", ""])
def test_a_path_is_no_url(text: str) -> None:
    assert not is_url(text)


def test_copies_are_bounded_and_deleted(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_COPIES", 3000)
    for number in range(5):
        url = server.put(f"{number}.png", pngs()["rgb.png"].ljust(1000))
        read(url)
        read(url)
        assert len(list((tmp_path / "copies").iterdir())) == len(copies._copies) <= 3
    assert sum(asked.startswith("GET") for asked in server.asked) == 5
    copies._copies.clear()
    assert not list((tmp_path / "copies").iterdir())


def test_a_copy_that_does_not_fit_is_refused(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("a.jpg", images()["a.jpg"])
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(ImageError, match="MB, which must be copied whole, do not fit"):
        read(url)
