"""What a training keeps of its image files from one epoch to the next, within a bound."""

from collections import OrderedDict
from dataclasses import replace

from torch import Tensor

from foveal.data.augmentation import Pixels
from foveal.images import FileImage, Image, TensorImage, read
from foveal.images.augmented import AugmentedImage
from foveal.images.tile_cache import PER_IMAGE, TileCache

_OPENED = 512  # large files whose lists of tiles are kept, about 0.4 MB for a gigapixel


class KeptImages:
    """Decoded files, kept as long as the memory lasts, and tiles of large files read in parts.

    Args:
        memory: bytes of decoded files to keep at most.
        tiles: keeps the tiles of all large files.
    """

    def __init__(self, memory: int, tiles: TileCache | None = None) -> None:
        self.free, self._kept = memory, dict[int, Pixels]()
        self.tiles = TileCache(PER_IMAGE) if tiles is None else tiles
        self._opened: OrderedDict[int, FileImage] = OrderedDict()

    def pixels(self, index: int, source: Image) -> Pixels | Image:
        """Return `pixels(source)`, from memory if the image of this index was kept."""
        if index in self._kept:
            return self._kept[index]
        if index in self._opened:
            return self._opened[index]
        image = pixels(source)
        if isinstance(image, FileImage):
            return self._open(index, image)
        if not isinstance(source, FileImage) or not isinstance(image, Tensor):
            return image
        if image.nbytes <= self.free:
            self._kept[index] = image
            self.free -= image.nbytes
        return image

    def reopened(self, index: int, image: Pixels | Image) -> Pixels | Image:
        """The same image; a file that comes from a worker, with what was read of it here before."""
        if isinstance(image, AugmentedImage) and isinstance(image.source, FileImage):
            return replace(image, source=self._reopened(index, image.source))
        return self._reopened(index, image) if isinstance(image, FileImage) else image

    def _reopened(self, index: int, file: FileImage) -> FileImage:
        return file if file.cache is self.tiles else self._open(index, file)

    def _open(self, index: int, file: FileImage) -> FileImage:
        if index not in self._opened:
            self._opened[index] = FileImage(file.path, self.tiles)
        self._opened.move_to_end(index)
        while len(self._opened) > _OPENED:
            self._opened.popitem(last=False)
        return self._opened[index]


def pixels(image: Image) -> Pixels | Image:
    """Return all pixels of an image (C, H, W), or the image itself if it is only read in parts.

    A file is read again at every call; nothing of it stays in memory but what is returned. A large
    file that can be read in parts is not decoded.
    """
    if isinstance(image, TensorImage):
        return image.pixels
    if not isinstance(image, FileImage) or (image.in_parts and image.is_large):
        return image
    return read(image.path)
