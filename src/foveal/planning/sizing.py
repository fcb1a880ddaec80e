"""How large a view, how many patches of what size and how many steps suit a set of images."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from foveal.errors import UserError
from foveal.settings import CLOSER, Optimisation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.data import Dataset, Splits

FEW = 20  # images of a class
ALONE = Optimisation(steps=0, learning_rate=3e-4, weight_decay=1e-4)
"""The optimisation end to end, unless other phases come before it."""
LATER_VALIDATIONS = 3  # of a training end to end that comes after other phases

Size = tuple[int, int]


def median(sizes: list[Size]) -> Size:
    """The median height and the median width.

    >>> median([(60, 80), (90, 100), (70, 300)])
    (70, 100)
    """
    heights, widths = (sorted(side) for side in zip(*sizes, strict=True))
    return heights[len(heights) // 2], widths[len(widths) // 2]


def view(image: Size) -> Size:
    """A third of the image, its longer side 64 to 384 px; whole cells of the scorer."""
    return scaled_view(image, min(384, max(64, max(image) / 3)) / max(image))


def wide_view(image: Size) -> Size:
    """The image, scaled down to 0.28 megapixels if it is larger; whole cells of the scorer.

    For a scorer with a pretrained network, which sees more in a view than it learns from it.
    """
    return scaled_view(image, min(1.0, (0.28e6 / (image[0] * image[1])) ** 0.5))


def scaled_view(image: Size, scale: float) -> Size:
    """The image at a scale, in whole cells of the scorer, at least 32 px a side."""
    height, width = (max(32, round(side * scale / 8) * 8) for side in image)
    return height, width


def closer(view: Size, image: Size) -> int:
    """Resolution of a second glance in that of the view: 4, or 2 where that is more than the
    image has.

    >>> closer((512, 512), (4096, 4096)), closer((512, 512), (1024, 2000))
    (4, 2)
    """
    scale = min(seen / side for seen, side in zip(view, image, strict=True))
    return CLOSER if CLOSER * scale <= 1 else 2


def patch(image: Size) -> int:
    """A twentieth of the longer side, 64 to 128 px, but at most half the shorter side."""
    side = min(128, max(64, round(max(image) / 20 / 16) * 16))
    return min(side, min(image) // 2)


def searched(sizes: list[Size], patch: int) -> float:
    """Megapixels of an image that are searched for proposals: 32, or as few as leave a patch 64 px.

    Images are halved there as often as that takes.

    >>> searched([(800, 1360)], 64), searched([(3000, 4000)], 128)
    (32.0, 3.0)
    """
    from foveal.proposals.reduction import MEGAPIXELS

    mean = sum(height * width for height, width in sizes) / len(sizes) / 1e6
    halvings = max(0, (patch // 64).bit_length() - 1)
    if not halvings:
        return MEGAPIXELS
    least: float = math.ceil(100 * mean / 4.0**halvings) / 100
    return min(MEGAPIXELS, least)


def k(image: Size, patch: int) -> int:
    """So many patches that they cover about a twelfth of the image, 2 to 10."""
    return min(10, max(2, round(image[0] * image[1] / patch**2 / 12)))


def steps(images: int, batch: int) -> int:
    """About 40 passes, 600 to 20 000 steps."""
    return min(20_000, max(600, round(40 * images / batch / 100) * 100))


def read_steps(images: int, batch: int) -> int:
    """About 50 passes; of few images 140, up to the 1300 steps that it takes; 400 to 10 000 steps.

    >>> [read_steps(images, 16) for images in (20, 80, 150, 420, 10_000)]
    [400, 700, 1300, 1300, 10000]
    """
    fewest = max(400, min(1300, round(140 * images / batch / 100) * 100))
    return min(10_000, max(fewest, round(50 * images / batch / 100) * 100))


def look_steps(images: int, batch: int) -> int:
    """About 2 passes after the other phases, 30 to 2000 steps."""
    return min(2_000, max(30, round(2 * images / batch / 10) * 10))


def last_phase(
    optimisation: Optimisation, steps: int, validations: int = LATER_VALIDATIONS
) -> Optimisation:
    """The optimisation of so many steps after the other phases, with few validations.

    What was given otherwise than `ALONE` stays. The encoder reads already, so steps are smaller.
    The scorer looks where it should, so there is no reward for doubt. Batch norms keep the
    statistics of reading: those of blended patches differ from what is seen after training. It goes
    on only as long as it lowers the validation loss.
    """
    rate, entropy = optimisation.learning_rate, optimisation.entropy
    return replace(
        optimisation,
        steps=steps,
        validate_every=optimisation.validate_every or max(1, steps // validations),
        learning_rate=3e-5 if rate == ALONE.learning_rate else rate,
        entropy=0.0 if entropy == ALONE.entropy else entropy,
        frozen_norms=True,
        patience=optimisation.patience or 1,
    )


def balanced(images: "Dataset") -> tuple[float, ...]:
    """Weights with which all classes count the same, 1 on average over the images."""
    from foveal.data.labels import class_counts

    counts = class_counts(images.labels, len(images.classes))
    each = len(images) / len(images.classes)
    return tuple(round(each / max(1, count), 6) for count in counts)


def scarce(images: "Dataset") -> list[str]:
    """A warning where classes have few images to learn from."""
    from foveal.data.labels import class_counts

    counts = class_counts(images.labels, len(images.classes))
    few = [f"{name} {n}" for name, n in zip(images.classes, counts, strict=True) if n < FEW]
    if not few:
        return []
    more = f" and {len(few) - 3} more" if len(few) > 3 else ""
    return [f"warning: fewer than {FEW} images to learn from in class {', '.join(few[:3])}{more}"]


class _Blank:
    """An image of which nothing but the size matters."""

    channels = 3

    def __init__(self, size: Size) -> None:
        self.size = size

    def view(self, size: Size) -> "Tensor":
        return _zeros(self.channels, *size)

    def crops(self, windows: "Tensor", size: Size) -> "Tensor":
        return _zeros(len(windows), self.channels, *size)


def _zeros(*shape: int) -> "Tensor":
    import torch

    return torch.zeros(shape)


def try_shapes(model: "nn.Module", splits: "Splits") -> None:
    """Meet the most elongated images before training does: they may have fewer windows than k.

    Args:
        model: the classifier.
        splits: the headers of all images are read.

    Raises:
        UserError: names an image that the model refuses, and why.
    """
    from foveal.evaluation import evaluation_mode

    files: dict[Size, str] = {}
    parts = (splits.train, splits.validation, splits.test)
    for part in (each for each in parts if each is not None):
        for index in range(len(part)):
            example = part[index]
            files.setdefault(example.image.size, example.file)
    ratios = sorted(files, key=lambda size: size[0] / size[1])
    areas = sorted(files, key=lambda size: size[0] * size[1])
    with evaluation_mode(model):
        for size in {ratios[0], ratios[-1], areas[0]}:
            try:
                model([_Blank(size)])
            except ValueError as error:
                raise UserError(f"{files[size]} ({size[0]} x {size[1]} px): {error}") from error
