"""A length in micrometres or metres as pixels of the images, which must agree on what that is."""

from dataclasses import replace
from typing import TYPE_CHECKING

from foveal._lengths import parse_length
from foveal.errors import UserError
from foveal.settings import Model

if TYPE_CHECKING:
    from foveal.data import Dataset
    from foveal.images.resolution import Resolution

_LARGEST_RATIO = 1.05  # of two pixels' sides, in one image or in two
_PIXELS = "give it in pixels"


def in_pixels(model: Model, images: "Dataset") -> tuple[Model, tuple[str, ...]]:
    """Return settings with the patch in pixels, and a remark if it was given in another unit.

    Args:
        model: as it was given.
        images: training images; the headers of all are read if a length is to be translated.

    Raises:
        UserError: an image does not say what a pixel shows, or two do not agree.
    """
    if not isinstance(model.patch, str):
        return model, ()
    asked = f"--patch {model.patch}"
    found = _resolutions(asked, images)
    sides = {file: (each.down, each.across) for file, each in found.items()}
    smallest, largest = (f(sides, key=lambda file: f(sides[file])) for f in (min, max))
    low, high = min(sides[smallest]), max(sides[largest])
    if high > _LARGEST_RATIO * low:
        raise UserError(
            f"{asked}: the images differ in what a pixel shows, from {found[smallest]} ({smallest})"
            f" to {found[largest]} ({largest}): bring them to one resolution, or {_PIXELS}"
        )
    count = max(1, round(parse_length(model.patch) / (low * high) ** 0.5))
    sources = ", ".join(sorted({each.source for each in found.values()}))
    note = f"{asked}: {count} px, at {found[smallest]} ({sources})"
    return replace(model, patch=count), (note,)


def _resolutions(asked: str, images: "Dataset") -> dict[str, "Resolution"]:
    """What a pixel shows, by the name of the image."""
    from foveal.images import FileImage
    from foveal.images.resolution import resolution

    found, silent = {}, []
    for index in range(len(images)):
        example = images[index]
        image = example.image
        stated = resolution(image.path) if isinstance(image, FileImage) else None
        if stated is None:
            silent.append(example.file)
        else:
            found[example.file] = stated
    if silent:
        raise UserError(
            f"{asked}: {len(silent)} of {len(images)} images do not say what a pixel shows "
            f"({silent[0]}): save them as TIFF with a resolution, or {_PIXELS}"
        )
    return found
