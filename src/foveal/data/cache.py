"""Where decoded images are kept for the next epoch: on the device, in memory, or nowhere.

On a device the images of a batch are taken together there, and nothing is copied to it any more.
What does not fit is decoded again. Results do not depend on it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import torch

from foveal._futures import map_in_order
from foveal._processes import cores
from foveal.data.dataset import Dataset, Example, Splits
from foveal.data.kept_images import KeptImages
from foveal.images import FileImage, TensorImage
from foveal.settings import Hardware

_LOOKED_AT = 20  # images, to estimate the size of all
_MOST_WORKERS, _THREADS = 8, 4


@dataclass(frozen=True)
class Cache:
    """Where images are kept, and who decodes them.

    Attributes:
        place: device, memory or none.
        memory: bytes of decoded images to keep at most, over all workers.
        tiles: bytes of tiles of large files to keep, of which only what is looked at is read.
        device: that images are kept on; None: they stay where they are.
        workers: number of processes that decode; 0: this one.
        threads: that decode in this process, if there are no workers; 0: none but its own.
        pinned: whether workers hand over memory that a GPU copies from by itself.
    """

    place: Literal["device", "memory", "none"] = "memory"
    memory: int = 3 * 2**29
    tiles: int = 2**29
    device: torch.device | None = None
    workers: int = 0
    threads: int = 0
    pinned: bool = False

    def __str__(self) -> str:
        who = f"{self.workers} processes decode" if self.workers else "decoded by one process"
        if self.place == "none":
            return f"not kept; {who}"
        where = "on the device" if self.place == "device" else "in memory"
        return f"kept {where} as far as {self.memory / 1e9:.2g} GB reach; {who}"


def plan_cache(dataset: Dataset, hardware: Hardware, device: torch.device) -> Cache:
    """Where the images of a training are kept.

    On a GPU: on it if they take at most half of what is free there. Else in memory, as far as that
    goes, and several processes decode files if it does not take all of them. On the CPU training
    needs the cores, and its own process decodes.

    Args:
        dataset: training images, at least one.
        hardware: cache, workers, devices and nodes.
        device: to train on.
    """
    on_gpu = device.type != "cpu"
    needed = decoded_bytes(dataset) if on_gpu else 0
    kept = hardware.kept_bytes() // _local_processes(hardware)
    tiles = kept // 4
    room = spare = kept - tiles
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0] // 2
    place = hardware.cache
    if place == "auto":
        place = "device" if on_gpu and needed <= room else "memory"
    threads = min(_THREADS, cores()) if on_gpu else 0
    if place == "device":
        return Cache("device", room, tiles, device, threads=threads)
    memory = spare if place == "memory" else 0
    workers = hardware.workers
    if workers is None:
        # processes must not touch images that are on a device already
        streams = on_gpu and needed > memory and isinstance(dataset[0].image, FileImage)
        workers = min(_MOST_WORKERS, cores() // _local_processes(hardware) - 1) if streams else 0
    return Cache(place, memory, tiles, None, max(0, workers), threads, pinned=on_gpu)


def decoded_bytes(dataset: Dataset) -> int:
    """Bytes of all images, from a few of them; of files, only headers are read."""
    count = min(len(dataset), _LOOKED_AT)
    total = 0
    for number in range(count):
        image = dataset[number * len(dataset) // count].image
        if isinstance(image, TensorImage):
            total += image.pixels.nbytes
        else:
            total += image.channels * image.size[0] * image.size[1]
    return total * len(dataset) // count


def _local_processes(hardware: Hardware) -> int:
    """Processes of this machine that train."""
    if hardware.devices > 0:
        return hardware.devices
    return max(1, torch.cuda.device_count())


class _Kept:
    """A data set whose images are kept as long as the memory lasts.

    Args:
        dataset: labelled images.
        kept: where.
        threads: that decode.

    Raises:
        UserError: an image cannot be read.
    """

    def __init__(self, dataset: Dataset, kept: KeptImages, threads: int) -> None:
        self.dataset, self.kept = dataset, kept
        self.classes, self.labels = dataset.classes, dataset.labels
        self.groups = getattr(dataset, "groups", None)
        with ThreadPoolExecutor(max(1, threads), "decode") as pool:
            for _ in map_in_order(pool, self.__getitem__, range(len(dataset))):
                pass

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example:
        example = self.dataset[index]
        image = self.kept.pixels((id(self), index), example.image)
        if isinstance(image, torch.Tensor):
            image = TensorImage(image)
        return replace(example, image=image)


def keep_on_device(splits: Splits, hardware: Hardware, device: torch.device) -> Splits:
    """Decode all files once and keep them on the device, if they are to be kept there.

    What looks at all images before training is spared decoding them again and again.

    Raises:
        UserError: an image cannot be read.
    """
    cache = plan_cache(splits.train, hardware, device)
    if cache.place != "device" or not isinstance(splits.train[0].image, FileImage):
        return splits
    kept = KeptImages(cache.memory, device)
    train, validation = (
        _Kept(part, kept, cache.threads) for part in (splits.train, splits.validation)
    )
    return replace(splits, train=train, validation=validation)
