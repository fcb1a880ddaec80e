"""Collect what measuring on a GPU needs and its machine lacks, small enough to be carried there.

    OUTPUT/wheels/                  packages of pip, for Python 3.12 on Linux
    OUTPUT/weights.pt               pretrained weights of the encoder
    OUTPUT/street-limit/, ...       field tasks as `foveal data` writes them, images re-encoded

Together with the files of the repository it stays under 64 MiB: photographs lose as much quality
as that takes.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from foveal.field import TASKS, Picture, write  # noqa: E402

SOURCES = {
    "street-limit": "gtsdb",
    "street-prohibitory": "gtsdb",
    "boards": "deeppcb",
    "screws": "bsdata",
}
PACKAGES = (
    *("cyclopts", "docstring-parser", "rich-rst", "beartype"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-inspection"),
)
QUALITIES = (85, 75, 65, 55, 45, 35, 25, 15)  # of WebP
LIMIT = 63 * 2**20  # bytes; the rest is for what grows before it is carried
HEADER = 2**10  # bytes that a file takes beside its content, in an archive of blocks of 512


def lossless(picture: Picture) -> bytes:
    """A black and white picture of a task with one bit a pixel."""
    assert picture.content is not None
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture.content())) as image:
        image.convert("1").save(file, format="PNG", optimize=True)
    return file.getvalue()


def lossy(source: Path, quality: int) -> bytes:
    """A photograph, smaller."""
    file = io.BytesIO()
    with Image.open(source) as image:
        image.convert("RGB").save(file, format="WEBP", quality=quality, method=4)
    return file.getvalue()


def packed(
    pictures: Iterable[Picture], folder: Path, quality: int, known: dict[Path, Path]
) -> Iterator[Picture]:
    """The pictures of a task with their new files.

    Args:
        pictures: as the task gives them.
        folder: of the task.
        quality: of photographs.
        known: new file of every photograph; those of this task are added.
    """
    for picture in pictures:
        source = picture.file
        if picture.content is not None:
            yield replace(picture, content=partial(lossless, picture))
        elif source in known:
            yield replace(picture, file=known[source])
        else:
            file = Path("images") / f"{source.stem}.webp"
            known[source] = folder / file
            yield replace(picture, file=file, content=partial(lossy, source, quality))


def pack_tasks(output: Path, sources: Path, room: int) -> None:
    """Write the tasks, with the highest quality of photographs that there is room for.

    Args:
        output: where.
        sources: folder with the sources of all tasks.
        room: bytes for all of them.
    """
    tasks = {name: list(TASKS[name](source=sources / at)) for name, at in SOURCES.items()}
    photographs = sorted({p.file for each in tasks.values() for p in each if p.content is None})
    room -= sum(len(lossless(p)) + HEADER for p in tasks["boards"]) + 2**19  # for the tables
    sample = photographs[::20]
    for quality in QUALITIES:
        size = sum(len(lossy(each, quality)) + HEADER for each in sample)
        size *= len(photographs) / len(sample)
        if 1.03 * size <= room:
            break
    known: dict[Path, Path] = {}
    for name, pictures in tasks.items():
        write(output / name, packed(pictures, output / name, quality, known))
    print(f"photographs as WebP of quality {quality}")


def download(output: Path) -> None:
    """Fetch the packages in the versions of this environment."""
    wanted = [f"{name}=={version(name)}" for name in PACKAGES]
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in (28, 17)]
    platforms += ["--platform=manylinux2014_x86_64"]
    options = ("--no-deps", "--only-binary=:all:", "--python-version=3.12", "--implementation=cp")
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    constraints = ("-c", str(ROOT / "constraints.txt"), "-d", str(output))
    subprocess.run([*command, *options, *platforms, *constraints, *wanted], check=True)


def rehearsal(folder: Path, output: Path) -> tuple[Path, Path]:
    """Make small sources of the tasks and small weights, and one more task, squares."""
    sys.path.insert(0, str(ROOT / "tests"))
    import torch

    import miniatures_field
    from foveal.nn.encoders import Backbone

    miniatures_field.sources(folder)
    miniatures_field.coloured(output / "squares")
    torch.save(Backbone("test_resnet").network.state_dict(), folder / "weights.pt")
    return folder, folder / "weights.pt"


def bytes_of(folder: Path) -> int:
    """Of all files in a folder, as an archive."""
    return sum(file.stat().st_size + HEADER for file in folder.rglob("*") if file.is_file())


def bytes_of_repository() -> int:
    """Of the files that travel with the folder; 0 outside a repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run(
        [*command, "--exclude-standard"], capture_output=True, text=True, check=False
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return sum(file.stat().st_size + HEADER for file in files if file.is_file())


def main() -> int:
    """Pack everything; 1 if it is too large."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    shared = ROOT.parent / "shared" / "data"
    trained = Path("weights") / "resnet18_imagenet1k_v1_to_layer3.pt"
    parser.add_argument("--sources", type=Path, default=shared, help="gtsdb, deeppcb and bsdata")
    parser.add_argument("--weights", type=Path, help=f"default: {trained} in the sources")
    parser.add_argument("--output", type=Path, default=ROOT / ".gpu", help="replaced if it exists")
    parser.add_argument("--rehearse", action="store_true", help="small data, and no packages")
    asked = parser.parse_args()
    sources, output = asked.sources.resolve(), asked.output.resolve()
    weights = asked.weights or sources / trained
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        if asked.rehearse:
            sources, weights = rehearsal(Path(folder), output)
        else:
            download(output / "wheels")
        shutil.copy(weights, output / "weights.pt")
        repository = bytes_of_repository()
        pack_tasks(output, sources, LIMIT - bytes_of(output) - repository)
    total = bytes_of(output) + repository
    print(f"{output}: {bytes_of(output) / 2**20:.1f} MiB; with the repository {total / 2**20:.1f}")
    if total > LIMIT:
        print("more than can be carried: pack fewer pictures", file=sys.stderr)
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
