"""The images that a run predicts: from paths, folders, patterns and pixels, or its own."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor

from foveal.data import Dataset
from foveal.data.folder.listing import list_folder
from foveal.data.folder.remote_listing import is_remote_folder, list_remote
from foveal.data.folder.tree import list_entries
from foveal.errors import UserError
from foveal.experiment import Experiment
from foveal.images import FileImage, Image, ImageError
from foveal.images.conversion import NO_IMAGE, Source, as_image
from foveal.images.locations import Location, RemoteFile, is_there, is_zarr, location
from foveal.runs.path_tables import TABLES, listed_cases, listed_files

Listed = Location | Image | ImageError
"""A file, here or remote, an image in memory, or why pixels in memory cannot be used."""


class ImageList(Sequence[Image]):
    """Images one after the other; a file is opened when it is asked for, and not kept.

    Asking for an image that cannot be used raises `ImageError`.

    Args:
        sources: paths, and images in memory.
        notes: remarks on what was left out.
    """

    def __init__(self, sources: Sequence[Listed], notes: Sequence[str] = ()) -> None:
        """Keep the paths, and the images in memory."""
        self.sources, self.notes = sources, tuple(notes)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        """Return the image of an index."""
        source = self.sources[index]
        if isinstance(source, ImageError):
            raise source
        return FileImage(source) if isinstance(source, Path | RemoteFile) else source


def list_images(images: Source | Iterable[Source]) -> ImageList:
    """List all images of the sources that `Run.predict` takes; files are not opened.

    Of a folder, those count that training would count; see `foveal.data.folder.tree`. A file that
    is named itself, by a table or by a pattern, is listed whatever its name.

    Raises:
        UserError: a folder, table or pattern without an image, or a pipe.
        TypeError: an object that is no image, with its number.
    """
    notes: list[str] = []
    listed: list[Listed] = []
    _add(images, listed, notes)
    return ImageList(listed, notes)


def list_cases(path: Path) -> dict[Location, str]:
    """The images of a table or of a folder of folders, and the case of each.

    Of a folder, the sub-folder that an image lies in, at any depth, is its case.

    Raises:
        UserError: as `listed_cases` and `list_images`, or an image lies in no sub-folder.
    """
    if not path.is_dir() or is_zarr(path):
        return listed_cases(path)
    images, _ = list_folder(path)
    cases = {image: image.relative_to(path).parts for image in images}
    if loose := [image for image, parts in cases.items() if len(parts) == 1]:
        raise UserError(
            f"{loose[0]} lies in no sub-folder of {path}: each case takes one, or a table with the "
            "columns file,case"
        )
    return {image: parts[0] for image, parts in cases.items()}


def own_test_images(experiment: Experiment) -> tuple[Dataset, str]:
    """The images that an experiment is evaluated on, and a description of them.

    Raises:
        UserError: the data cannot be read, or the pictures cannot be painted as asked.
    """
    try:
        splits = experiment.splits()
    except ValueError as error:
        raise UserError(str(error)) from error
    if splits.test is None:
        return splits.validation, "its validation images (no test images)"
    return splits.test, "its test images"


def image_size(experiment: Experiment) -> tuple[int, int]:
    """The (H, W) of the images that an experiment is evaluated on, in pixels.

    Raises:
        UserError: they differ, or cannot be read.
    """
    remedy = "name the height and width of the images to export for with --size"
    try:
        images, what = own_test_images(experiment)
        sizes = Counter(images[index].image.size for index in range(len(images)))
    except UserError as error:
        raise UserError(f"{error}; or {remedy}") from error
    (height, width), count = sizes.most_common(1)[0]
    if len(sizes) > 1:
        raise UserError(
            f"{what} differ in size ({count} of {len(images)} have {height} x {width} px): {remedy}"
        )
    return height, width


def _add(source: Source | Iterable[Source], listed: list[Listed], notes: list[str]) -> None:
    """Add the images of a source to a list."""
    if isinstance(source, str | Path | RemoteFile):
        listed += _files(location(source), notes)
    elif isinstance(source, Tensor | np.ndarray) and source.ndim == 4:
        listed += [_in_memory(each) for each in source]
    elif isinstance(source, Tensor | np.ndarray | PIL.Image.Image | Image):
        listed.append(_in_memory(source))
    elif isinstance(source, Iterable):
        for each in source:
            _add(each, listed, notes)
    else:
        raise TypeError(f"image {len(listed)}: {NO_IMAGE.format(type(source).__name__)}")


def _in_memory(source: Source) -> Image | ImageError:
    """The image of pixels in memory, or why they cannot be used."""
    try:
        return as_image(source)
    except (ValueError, TypeError) as error:
        return ImageError(str(error))


def _files(path: Location, notes: list[str]) -> list[Location]:
    """The path itself, the images of a folder or table, or the matches of a glob pattern."""
    if isinstance(path, RemoteFile):
        if not is_remote_folder(path):
            return [path]
        remote, left_out = list_remote(path)
        notes += [f"{path}: {note}" for note in left_out]
        return list(remote)
    if path.is_dir() and not is_zarr(path):
        images, left_out = list_folder(path)
        notes += [f"{path}: {note}" for note in left_out]
        return list(images)
    if path.exists() or not glob.has_magic(str(path)):
        if path.exists() and not is_there(path):
            raise UserError(f"{path}: a pipe or a device, not an image file: write it to a file")
        return listed_files(path) if path.suffix.lower() in TABLES else [path]
    _check_readable(path)
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise UserError(f"{path}: no file matches this pattern")
    files = (file for each in found for file in _files(Path(each), notes))
    return list(dict.fromkeys(files))  # ** gives a folder and what is in it


def _check_readable(pattern: Path) -> None:
    """Refuse a folder that a pattern leads through and that cannot be read; glob is silent on it.

    Raises:
        UserError: names the folder.
    """
    parts = pattern.parts
    for place, part in enumerate(parts):
        if glob.has_magic(part):
            end = place + (part == "**")  # which lists the folders that it matches, too
            for folder in glob.glob(os.path.join(*parts[:end]) if end else ".", recursive=True):
                if not _is_no_folder(folder):
                    list_entries(Path(folder))


def _is_no_folder(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return False
