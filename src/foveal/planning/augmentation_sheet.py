"""A picture of training images as they are, and as augmentation changes them."""

import io
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw

from foveal._files import write
from foveal._seeding import AUGMENTATION, derived_generator
from foveal.data import Dataset
from foveal.data.augmentation import Transform, augmentations
from foveal.data.loader import pixels
from foveal.images.conversion import as_image
from foveal.report.drawing import INK, PAPER, edged, rgb, typeface
from foveal.settings import Augmentation

_ROWS, _COLUMNS, _WIDTH, _GAP, _CAPTION = 5, 4, 280, 8, 26


def draw_sheet(images: Dataset, settings: Augmentation, file: Path, *, seed: int = 0) -> None:
    """Write a PNG: a row for each of some images, first as it is, then changed at random.

    Args:
        images: training images.
        settings: of the augmentation.
        file: to be written, all of it or nothing.
        seed: of the changes.
    """
    transforms = augmentations(settings)
    count = min(_ROWS, len(images))
    rows = [_row(images, i * len(images) // count, transforms, seed) for i in range(count)]
    height = sum(max(each.height for each in row) + _CAPTION + _GAP for row in rows) + _GAP
    sheet = Pillow.new("RGB", (_COLUMNS * (_WIDTH + _GAP) + _GAP, height), PAPER)
    top = _GAP
    for i, row in enumerate(rows):
        label = images[i * len(images) // count].label
        name = images.classes[label] if isinstance(label, int) else ""
        caption = f"{name}: as it is, then as training sees it"
        ImageDraw.Draw(sheet).text((_GAP, top), caption, fill=INK, font=typeface(15))
        for column, picture in enumerate(row):
            sheet.paste(edged(picture), (_GAP + column * (_WIDTH + _GAP), top + _CAPTION))
        top += max(each.height for each in row) + _CAPTION + _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write(file, buffer.getvalue())


def _row(
    images: Dataset, index: int, transforms: tuple[Transform, ...], seed: int
) -> list[Pillow.Image]:
    whole = pixels(images[index].image)
    found = [whole]
    for column in range(1, _COLUMNS):
        changed = whole
        generator = derived_generator(seed, AUGMENTATION, index, column)
        for transform in transforms:
            changed = transform(changed, generator)
        found.append(changed)
    return [rgb(each.view(_fitted(each.size))) for each in map(as_image, found)]


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    return max(1, round(size[0] * _WIDTH / size[1])), _WIDTH
