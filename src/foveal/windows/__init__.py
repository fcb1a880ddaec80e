"""Where the candidates lie: Int (N, 4), top left bottom right in full-resolution pixels, end
excluded.

Windows may overhang the image; outside it there are zeros.
"""

from foveal.windows.grids import ASPECTS, LEVELS, Level, anchors, centred, grid, paper, regular
from foveal.windows.overlaps import area, distinct, hits, intersection, iou, overlap
from foveal.windows.places import centres, coordinates, placed, relative_centres

__all__ = [
    "ASPECTS",
    "LEVELS",
    "Level",
    "anchors",
    "area",
    "centred",
    "centres",
    "coordinates",
    "distinct",
    "grid",
    "hits",
    "intersection",
    "iou",
    "overlap",
    "paper",
    "placed",
    "regular",
    "relative_centres",
]
