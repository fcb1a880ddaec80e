"""However a file is damaged, what reads it answers, or refuses it in one line."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import miniatures
import slide_files
from every_format import images, pngs
from foveal.data.folder import read_folder, read_whole
from foveal.images import FileImage, read
from foveal.report.rows_file import read_rows
from foveal.runs.inputs import list_images
from mutated import CHANGES, FEW, MANY, TEXT_CHANGES, fault_of, mutated, mutated_png

SHARES = {
    "image": 0.6,
    "array": 0.02,
    "slide": 0.05,
    "png": 0.13,
    "table": 0.1,
    "boxes": 0.02,
    "rows": 0.05,
}
"""Of the files that are damaged in all, those of each kind; the rest lie in run folders."""

Uses = list[Callable[[], Any]]


def use_image(path: Path) -> Uses:
    image, opened = FileImage(path), FileImage(path)
    windows = torch.tensor([[-3, -3, 5, 5], [4, 6, 12, 14], [0, 0, 40, 40]])

    def in_memory() -> None:
        try:
            source = PIL.Image.open(path)
        except Exception:  # what Pillow refuses by itself never comes to foveal
            return
        with source:
            list_images(source)[0]

    return [
        lambda: image.size,
        lambda: image.view((4, 5)),
        lambda: image.glance((1, 1, 9, 9), (4, 4)),
        lambda: image.crops(windows, (8, 8)),
        lambda: opened.decode(),
        lambda: opened.view((30, 40)),
        lambda: read(path),
        in_memory,
    ]


def use_table(path: Path) -> Uses:
    multilabel = path.name == "marks.csv"
    return [
        lambda: read_whole(path, multilabel=multilabel).labels,
        lambda: read_folder(path, multilabel=multilabel).train.labels,
    ]


def use_boxes(path: Path) -> Uses:
    return [lambda: read_whole(path.parent / "labels.csv")[0].boxes]


def use_rows(path: Path) -> Uses:
    return [lambda: read_rows(path, ["cat", "dog"]).missing(["a.png"])]


def tables(folder: Path) -> dict[str, bytes]:
    """Tables of the images that are in a folder."""
    plain = miniatures.labels_csv(folder, parts=("train", "val", "test"), size=(6, 8)).read_text()
    names = [f"images/{number}.png" for number in range(6)]
    grouped = "".join(f"{n};cat|dog;board {i % 3}\n" for i, n in enumerate(names))
    marks = "".join(f"{name}\t{i % 2}\t1\n" for i, name in enumerate(names))
    return {
        "labels.csv": plain.encode(),
        "grouped.csv": f"\ufefffile;label;group\n{grouped}".encode(),
        "marks.csv": f"file\tcat\tdog\n{marks}".encode(),
    }


def numpy_files() -> dict[str, bytes]:
    """Arrays of gray and colour."""
    found = {}
    for name, shape in (("gray.npy", (20, 28)), ("colour.npy", (20, 28, 3))):
        stream = io.BytesIO()
        np.save(stream, np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16))
        found[name] = stream.getvalue()
    return found


def slides(folder: Path) -> dict[str, bytes]:
    """Slides that OpenSlide reads."""
    pytest.importorskip("openslide", reason="the extra slides is not installed")
    pytest.importorskip("tifffile", reason="tifffile, which writes slides, is missing")
    pixels = miniatures.smooth(128, 192).permute(1, 2, 0).contiguous().numpy()
    files = (
        slide_files.aperio(folder / "a.svs", pixels),
        slide_files.generic(folder / "a.bif", pixels),
    )
    return {file.name: file.read_bytes() for file in files}


def cases(kind: str, folder: Path) -> tuple[Mapping[str, bytes], Callable[[Path], Uses]]:
    """Intact files by name, and how a file is used."""
    if kind == "image":
        return images(), use_image
    if kind == "png":
        return pngs(), use_image
    if kind == "array":
        return numpy_files(), use_image
    if kind == "slide":
        return slides(folder), use_image
    if kind == "table":
        return tables(folder), use_table
    if kind == "boxes":
        miniatures.labels_csv(folder, size=(6, 8))
        rows = "images/0.png,0,0,4,4\nimages/1.png,1.5,2,3,5\nimages/1.png,0,0,8,6\n"
        return {"boxes.csv": f"file,x0,y0,x1,y1\n{rows}".encode()}, use_boxes
    line = '{"file": "a.png", "error": null, "probabilities": {"cat": 0.5, "dog": 0.5}}\n'
    header = "file,label,probability,cat,dog,windows,error\n"
    table = f'{header}a.png,cat,0.5,0.5,0.5,"[[0,0,1,1]]",\n"\'=b.png",,,,,,"no ""x"""\n'
    return {"rows.jsonl": line.encode() * 2, "rows.csv": table.encode()}, use_rows


def faults(kind: str, folder: Path, count: int) -> Iterator[str]:
    """What goes wrong with so many damaged files; number and name make a file again."""
    intact, uses_of = cases(kind, folder)
    for name, content in intact.items():
        (folder / name).write_bytes(content)
        for use in uses_of(folder / name):
            use()  # raises nothing
    for number in range(count):
        chance = Random(number)
        name = chance.choice(sorted(intact))
        if kind == "png":
            damaged = mutated_png(intact[name], chance)
        else:
            changes = TEXT_CHANGES if kind in ("table", "boxes", "rows") else CHANGES
            damaged = mutated(intact[name], chance, changes)
        path = folder / name
        path.unlink()
        path.write_bytes(damaged)
        for which, use in enumerate(uses_of(path)):
            if fault := fault_of(use):
                yield f"{kind} {number} {name}, use {which}: {fault}"
        path.write_bytes(intact[name])


def check(kind: str, folder: Path, count: int) -> None:
    found = list(faults(kind, folder, count))
    assert not found, f"{len(found)} faults\n" + "\n".join(found[:5])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged header may name billions of pixels; so many are refused sooner than decoded."""
    monkeypatch.setenv("FOVEAL_MAX_PIXELS", str(10**6))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", SHARES)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    check(kind, tmp_path, int(FEW * SHARES[kind]))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", SHARES)
def test_many_damaged_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    check(kind, tmp_path, int(MANY * SHARES[kind]))
