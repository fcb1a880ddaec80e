"""Where candidates lie: Int (N, 4), top left bottom right in full-resolution pixels, end excluded.

Windows may overhang the image; outside it pixels are zero.
"""

from foveal.windows.geometry import (
    by_image_size,
    centres,
    coordinates,
    from_xyxy,
    relative_centres,
    to_xyxy,
)
from foveal.windows.grids import centred, grid, regular
from foveal.windows.overlaps import (
    area,
    can_cover,
    cover_chance,
    coverage,
    covers,
    intersection,
    iou,
    nms,
)

__all__ = [
    "area",
    "by_image_size",
    "can_cover",
    "centred",
    "centres",
    "coordinates",
    "cover_chance",
    "coverage",
    "covers",
    "from_xyxy",
    "grid",
    "intersection",
    "iou",
    "nms",
    "regular",
    "relative_centres",
    "to_xyxy",
]
