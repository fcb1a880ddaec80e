"""What a training keeps of its images from one epoch to the next, within a bound."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

import torch
from torch import Tensor

from foveal.data.augmentation import Pixels
from foveal.images import FileImage, Image, TensorImage, read
from foveal.images.augmented import AugmentedImage
from foveal.images.tile_cache import PER_IMAGE, TileCache

_OPENED = 512  # large files whose lists of tiles are kept, about 0.4 MB for a gigapixel
_LOCK = threading.Lock()  # of all: one with a lock of its own could not go to a worker


class KeptImages:
    """Decoded images, kept as long as the memory lasts, and tiles of large files read in parts.

    Threads may share it.

    Args:
        memory: bytes of decoded images to keep at most.
        device: where they are kept, files and others; None: of files only, in memory.
        tiles: keeps the tiles of all large files.
    """

    def __init__(
        self, memory: int, device: torch.device | None = None, tiles: TileCache | None = None
    ) -> None:
        self.free, self.device = memory, device
        self._kept = dict[Hashable, Pixels | TensorImage]()
        self.tiles = TileCache(PER_IMAGE) if tiles is None else tiles
        self._opened: OrderedDict[Hashable, FileImage] = OrderedDict()

    def pixels(self, index: Hashable, source: Image) -> Pixels | Image:
        """Return `pixels(source)`, as it was kept if the image of this index was."""
        if index in self._kept:
            return self._kept[index]
        if (opened := self._opened.get(index)) is not None:
            return opened
        image = pixels(source)
        if isinstance(image, FileImage):
            return self._open(index, image)
        if not isinstance(image, Tensor | TensorImage):
            return image
        held = image.pixels if isinstance(image, TensorImage) else image
        is_there = self.device is None or held.device == self.device
        if is_there and not isinstance(source, FileImage):
            return image
        with _LOCK:
            fits = held.nbytes <= self.free
            self.free -= held.nbytes if fits else 0
        if fits:
            image = image if self.device is None else image.to(self.device)
            self._kept[index] = image
        return image

    def reopened(self, index: Hashable, image: Pixels | Image) -> Pixels | Image:
        """The same image; a file that comes from a worker, with what was read of it here before."""
        if isinstance(image, AugmentedImage) and isinstance(image.source, FileImage):
            return replace(image, source=self._reopened(index, image.source))
        return self._reopened(index, image) if isinstance(image, FileImage) else image

    def _reopened(self, index: Hashable, file: FileImage) -> FileImage:
        return file if file.cache is self.tiles else self._open(index, file)

    def _open(self, index: Hashable, file: FileImage) -> FileImage:
        with _LOCK:
            if index not in self._opened:
                self._opened[index] = FileImage(file.path, self.tiles)
            self._opened.move_to_end(index)
            opened = self._opened[index]
            while len(self._opened) > _OPENED:
                self._opened.popitem(last=False)
        return opened


def pixels(image: Image) -> Pixels | Image:
    """Return all pixels of an image (C, H, W), or the image itself if it is only read in parts.

    A file is read again at every call; nothing of it stays in memory but what is returned. A large
    file that can be read in parts is not decoded. Where a colour means that there is no data, the
    pixels are a `TensorImage`, which knows it.
    """
    if isinstance(image, TensorImage):
        return image.pixels if image.nodata() is None else image
    if not isinstance(image, FileImage) or (image.in_parts and image.is_large):
        return image
    nodata = image.nodata()
    return read(image.path) if nodata is None else TensorImage(read(image.path), nodata)
