"""A length in micrometres or metres as pixels of the images, which must agree on what that is."""

from dataclasses import replace
from typing import TYPE_CHECKING

from foveal._lengths import parse_length, show_length
from foveal.errors import UserError
from foveal.planning import sizing
from foveal.settings import Model

if TYPE_CHECKING:
    from foveal.data import Dataset
    from foveal.images.resolution import Resolution

_LARGEST_RATIO = 1.05  # of two pixels' sides, in one image or in two
_PIXELS = "give it in pixels"


def in_pixels(model: Model, images: "Dataset", image: sizing.Size) -> tuple[Model, tuple[str, ...]]:
    """Return settings in pixels, and a remark if patch or view were given in another unit.

    Args:
        model: as it was given.
        images: training images; the headers of all are read if a length is to be translated.
        image: typical height and width.

    Raises:
        UserError: an image does not say what a pixel shows, or two do not agree, or a pixel of the
            view would show less than one of the images.
    """
    patch, view = model.patch, model.view_resolution
    given = [f"--patch {patch}"] * isinstance(patch, str)
    given += [f"--view-resolution {view}"] * (view is not None)
    if not given:
        return model, ()
    asked = " ".join(given)
    shown, source = _common_resolution(asked, images)
    notes = [f"{asked}: a pixel shows {show_length(shown)} ({source})"]
    if isinstance(patch, str):
        model = replace(model, patch=max(1, round(parse_length(patch) / shown)))
        notes.append(f"patch {model.patch} px")
    if view is not None:
        scale = shown / parse_length(view)
        if scale > 1:
            raise UserError(
                f"{asked}: a pixel of the view must not show less than one of the images, "
                f"{show_length(shown)}: choose that or more"
            )
        size = sizing.scaled_view(image, scale)
        model = replace(model, view=size, view_resolution=None)
        notes.append(f"view {size[0]} x {size[1]} px")
    return model, (", ".join(notes),)


def _common_resolution(asked: str, images: "Dataset") -> tuple[float, str]:
    """The side of a pixel of all images in micrometres, and what says so."""
    found = _resolutions(asked, images)
    sides = {file: (each.down, each.across) for file, each in found.items()}
    smallest, largest = (f(sides, key=lambda file: f(sides[file])) for f in (min, max))
    low, high = min(sides[smallest]), max(sides[largest])
    if high > _LARGEST_RATIO * low:
        raise UserError(
            f"{asked}: the images differ in what a pixel shows, from {found[smallest]} ({smallest})"
            f" to {found[largest]} ({largest}): bring them to one resolution, or {_PIXELS}"
        )
    return (low * high) ** 0.5, ", ".join(sorted({each.source for each in found.values()}))


def _resolutions(asked: str, images: "Dataset") -> dict[str, "Resolution"]:
    """What a pixel shows, by the name of the image."""
    from foveal.images import FileImage
    from foveal.images.file_resolution import resolution

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
