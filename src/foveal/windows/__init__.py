"""Where the candidates lie: Int (N, 4), top left bottom right in full-resolution pixels, end
excluded.

Windows may overhang the image; outside it there are zeros.
"""

from foveal.windows.geometry import centres, coordinates, placed, relative_centres
from foveal.windows.grids import centred, cordonnier_grid, grid, regular
from foveal.windows.overlaps import area, coverage, covers, intersection, iou, nms

__all__ = [
    "area",
    "centred",
    "centres",
    "coordinates",
    "cordonnier_grid",
    "coverage",
    "covers",
    "grid",
    "intersection",
    "iou",
    "nms",
    "placed",
    "regular",
    "relative_centres",
]
