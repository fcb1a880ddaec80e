"""Tiny real data sets and files, good and bad, written where a test wants them."""

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from foveal.settings import Training


def settings(base: Training = Training(), **options: object) -> Training:
    """Settings that differ from others in a few options, whichever groups those are in."""
    changes: dict[str, object] = {}
    for group in ("optimisation", "augmentation"):
        before = getattr(base, group)
        names = {field.name for field in fields(before)} & options.keys()
        changes[group] = replace(before, **{name: options.pop(name) for name in names})
    return replace(base, **changes, **options)


def pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> UInt8[Tensor, "C H W"]:
    """Random uint8 pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


def smooth(height: int, width: int, seed: int = 0) -> UInt8[Tensor, "3 H W"]:
    """Smooth random uint8 pixels, which a JPEG keeps within a few levels."""
    coarse = pixels(4, 4, seed=seed)[None].float()
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return fine[0].round().byte()


def write(path: Path, image: Tensor | Image.Image, **options: object) -> Path:
    """Write (3, H, W) or (1, H, W) pixels, or a Pillow image, as the path's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, Tensor):
        array = image.permute(1, 2, 0).contiguous().numpy()
        image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    image.save(path, **options)
    return path


def class_folders(
    root: Path,
    counts: Mapping[str, int] | None = None,
    size: tuple[int, int] = (24, 32),
    parts: Sequence[str] = (),
) -> Path:
    """Write `counts[name]` PNGs per class (4 cats and 6 dogs), in every part if there are any.

    The images of a class are bright in one quarter, so that something can be learned from them.
    """
    counts = counts or {"cat": 4, "dog": 6}
    for number, (name, count) in enumerate(counts.items()):
        for part in parts or ("",):
            for index in range(count):
                image = pixels(*size, seed=1000 * number + index) // 4
                top, left = (number % 2) * size[0] // 2, (number // 2 % 2) * size[1] // 2
                image[:, top : top + size[0] // 2, left : left + size[1] // 2] += 190
                write(root / part / name / f"{index}.png", image)
    return root


def table(path: Path, header: str, rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV; the header is given as one comma-separated string."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def labels_csv(root: Path, parts: Sequence[str] = (), size: tuple[int, int] = (24, 32)) -> Path:
    """Write 10 PNGs `images/0.png` ... and `labels.csv`; even ones are cats.

    Args:
        root: where.
        parts: words that the column `split` repeats in turn; none: no such column.
        size: height and width of the images.
    """
    names = [f"images/{index}.png" for index in range(10)]
    for index, name in enumerate(names):
        write(root / name, pixels(*size, seed=index))
    rows = [[name, ("cat", "dog")[index % 2]] for index, name in enumerate(names)]
    if parts:
        rows = [[*row, parts[index // 2 % len(parts)]] for index, row in enumerate(rows)]
    return table(root / "labels.csv", "file,label,split" if parts else "file,label", rows)


def boxes_csv(root: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write `boxes.csv` of rows `file, x0, y0, x1, y1`."""
    return table(root / "boxes.csv", "file,x0,y0,x1,y1", rows)


def mnist(root: Path, counts: Mapping[str, int] | None = None) -> Path:
    """Write the four files of MNIST: bars whose height and brightness tell their digit.

    Args:
        root: where.
        counts: digits to learn from, "train", and to report on, "t10k"; 120 and 60.
    """
    root.mkdir(parents=True, exist_ok=True)
    for part, count in (counts or {"train": 120, "t10k": 60}).items():
        values = np.arange(count, dtype=np.uint8) * 7 % 10
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for number, (image, value) in enumerate(zip(images, values, strict=True)):
            image[4 : 8 + 2 * value, 6:22] = 20 * value + 50
            image[0, 0] = number % 200 + 1  # no two are the same
        for name, array in (("images-idx3", images), ("labels-idx1", values)):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            content = gzip.compress(header + array.tobytes(), mtime=0)
            (root / f"{part}-{name}-ubyte.gz").write_bytes(content)
    return root


def truncated(source: Path, path: Path, share: float = 0.6) -> Path:
    """Copy the first bytes of a file."""
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def gray16(path: Path, values: np.ndarray) -> Path:
    """Write a 16-bit gray PNG or TIFF."""
    return write(path, Image.fromarray(values.astype(np.uint16)))


def several(path: Path, sizes: Sequence[tuple[int, int]] = ((20, 30), (20, 30))) -> Path:
    """Write several pictures into one GIF, WebP, PNG (animated) or TIFF (pages)."""
    first, *others = (
        Image.fromarray(pixels(*size, seed=seed).permute(1, 2, 0).contiguous().numpy())
        for seed, size in enumerate(sizes)
    )
    return write(path, first, save_all=True, append_images=others)


def bad_images(root: Path) -> dict[str, Path]:
    """Write one file of every kind that cannot be used, by what is wrong with it."""
    root.mkdir(parents=True, exist_ok=True)
    jpeg = write(root / "good.jpg", pixels(64, 64))
    png = write(root / "good.png", pixels(64, 64))
    tiff = write(root / "good.tif", pixels(64, 64), compression="tiff_lzw")
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("not a picture at all", encoding="utf-8")
    (root / "folder.png").mkdir()
    float_tiff = Image.fromarray(np.zeros((4, 4), dtype=np.float32))
    return {
        "missing": root / "missing.png",
        "folder": root / "folder.png",
        "empty": root / "empty.jpg",
        "text": root / "text.png",
        "header cut": truncated(jpeg, root / "header.jpg", share=0.02),
        "jpeg cut": truncated(jpeg, root / "cut.jpg"),
        "png cut": truncated(png, root / "cut.png"),
        "tiff cut": truncated(tiff, root / "cut.tif"),
        "gif animated": several(root / "animated.gif"),
        "webp animated": several(root / "animated.webp"),
        "png animated": several(root / "animated.png"),
        "tiff pages": several(root / "pages.tif"),
        "float": write(root / "float.tif", float_tiff),
    }


def birds(root: Path, train: int = 4, test: int = 2, classes: int = 3) -> Path:
    """Write tiny JPEGs in the layout of CUB-200-2011: so many of every class, bright in one box.

    Class c is bright in channel c; the box lies in another corner from image to image.
    """
    tables: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    }
    names = [f"{label + 1:03d}.Bird_{label}" for label in range(classes)]
    number = 0
    for label, name in enumerate(names):
        for index in range(train + test):
            number += 1
            top, left = 5 + 20 * (index % 2), 3 + 30 * (index // 2 % 2)
            image = pixels(60, 80, seed=number) // 4
            image[label % 3, top : top + 20, left : left + 30] += 180
            file = f"{name}/Bird_{label}_{number:04d}.jpg"
            write(root / "images" / file, image, quality=90)
            tables["images"].append(f"{number} {file}")
            tables["image_class_labels"].append(f"{number} {label + 1}")
            tables["train_test_split"].append(f"{number} {int(index < train)}")
            tables["bounding_boxes"].append(f"{number} {left}.0 {top}.0 30.0 20.0")
    tables["classes"] = [f"{label + 1} {name}" for label, name in enumerate(names)]
    for table_name, lines in tables.items():
        (root / f"{table_name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
