"""The images that an experiment is evaluated on, and their size."""

from collections import Counter

from foveal.data import Dataset
from foveal.errors import UserError
from foveal.experiment import Experiment


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
