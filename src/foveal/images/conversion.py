"""Any single image becomes a `foveal.images.Image`: a file, a tensor, a PIL image, a NumPy array.

    path, URL          read when it is needed      PIL image         upright RGB, like a file
    tensor (C, H, W)   as it is                    array (H, W, C)   as (C, H, W)
                                                   array (H, W)      gray in three channels

Pixels are uint8, or floating point in [0, 1].
"""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from foveal.images import FileImage, Image, TensorImage
from foveal.images.decoding import rgb_pixels
from foveal.images.locations import RemoteFile
from foveal.images.nodata import stated_nodata
from foveal.images.refusals import DAMAGE

Source = str | Path | RemoteFile | Tensor | NDArray[Any] | PIL.Image.Image | Image
"""A single image; for `Run.predict`, also a folder or a glob pattern."""

NO_IMAGE = (
    "not an image: {}; give a path, a tensor (C, H, W), a PIL image or a NumPy array (H, W) or "
    "(H, W, C)"
)


def as_image(source: Source) -> Image:
    """Return the image of a file, a tensor, a PIL image or a NumPy array.

    Pixels are not copied if the layout of the source allows it.

    Raises:
        TypeError: an object of another type, or pixels that are neither uint8 nor floating point.
        ValueError: pixels of another shape, floating point outside [0, 1], or a PIL image whose
            file is damaged.

    >>> as_image(np.zeros((20, 30), np.uint8)).size
    (20, 30)
    """
    if isinstance(source, str | Path | RemoteFile):
        return FileImage(source)
    if isinstance(source, PIL.Image.Image):
        pixels = _upright(source)
        tags = source.tag_v2 if isinstance(source, TiffImageFile) else None
        return TensorImage(pixels, None if tags is None else stated_nodata(tags))
    if isinstance(source, np.ndarray):
        source = _channels_first(source)
    if isinstance(source, Tensor):
        return TensorImage(source)
    if isinstance(source, Image):
        return source
    raise TypeError(NO_IMAGE.format(type(source).__name__))


def _upright(image: PIL.Image.Image) -> Tensor:
    """The pixels of a PIL image, which may still have to read its file."""
    try:
        return rgb_pixels(image)
    except ValueError:
        raise
    except DAMAGE as error:
        raise ValueError(f"damaged or truncated ({error})") from error


def _channels_first(array: NDArray[Any]) -> Tensor:
    if array.ndim not in (2, 3):
        raise ValueError(f"an array must be (H, W) or (H, W, C): got {array.shape}")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"pixels must be uint8 or floating point in [0, 1]: got {array.dtype}")
    array = np.asarray(array, np.uint8 if array.dtype == np.uint8 else np.float32)
    # torch takes neither read-only memory nor steps backwards, as in array[..., ::-1]
    if not array.flags.writeable or min(array.strides) < 0:
        array = array.copy()
    pixels = torch.from_numpy(array)
    return pixels.expand(3, -1, -1) if array.ndim == 2 else pixels.permute(2, 0, 1)
